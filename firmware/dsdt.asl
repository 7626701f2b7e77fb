// SPDX-License-Identifier: GPL-2.0-or-later
// The DSDT of the pc machine: i440FX, PIIX3, PIIX4 (Advanced Configuration and Power Interface Specification,
// 1.0b; 32-bit integers and the operators of that time, so that the oldest ACPI systems read it too).
//
// acpi_tables.cpp puts the machine's facts in place of the values of the names ES.. below.
//
// SeaBIOS looks through this table for the devices that it is to start, with a parser that gives the rest of a
// device up at a Create...Field outside a method: keep those within methods, or the BIOS has no keyboard.
DefinitionBlock ("dsdt.aml", "DSDT", 1, "ESCALU", "ESCALUS ", 0x00000001)
{
    Name (ESPB, 0xE0000001) // first address of PCI's memory window
    Name (ESPM, 0xE0000002) // I/O base of the PIIX4's power management registers
    Name (ESCM, 0xE0000003) // serial ports: bit 0 COM1 .. bit 3 COM4
    Name (ESHP, 0xE0000004) // 1: there is an HPET
    Name (ESFD, 0xE0000005) // floppy drives: bit 0 A, bit 1 B; none: there is no controller

    // PIIX4 datasheet, PMCNTRL: suspend type 0 is soft off. No other sleep state is offered.
    Name (\_S5, Package () {0x00, 0x00, 0x00, 0x00})

    // 0: the operating system uses the 8259s, 1: the I/O APIC. The links below reach the same numbers on both.
    Name (PICF, 0x00)
    Method (\_PIC, 1, NotSerialized)
    {
        Store (Arg0, PICF)
    }

    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A03"))
            Name (_UID, 0x00)

            Name (CRES, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
                    0x0000, 0x0000, 0x00FF, 0x0000, 0x0100)
                IO (Decode16, 0x0CF8, 0x0CF8, 0x01, 0x08)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0x0000, 0x0000, 0x0CF7, 0x0000, 0x0CF8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0x0000, 0x0D00, 0xFFFF, 0x0000, 0xF300)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0x00000000, 0x000A0000, 0x000BFFFF, 0x00000000, 0x00020000)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                    0x00000000, 0xE0000000, 0xFEBFFFFF, 0x00000000, 0x1EC00000, , , PW32)
            })
            Method (_CRS, 0, Serialized)
            {
                CreateDWordField (CRES, \_SB.PCI0.PW32._MIN, PWMN)
                CreateDWordField (CRES, \_SB.PCI0.PW32._MAX, PWMX)
                CreateDWordField (CRES, \_SB.PCI0.PW32._LEN, PWLN)
                Store (ESPB, PWMN)
                Add (Subtract (PWMX, PWMN), 0x01, PWLN)
                Return (CRES)
            }

            // Device d, pin p is on wire (d - 1 + p) mod 4; the power management function's INTA is the SCI.
            Name (_PRT, Package ()
            {
                Package () {0x0000FFFF, 0, LNKD, 0}, Package () {0x0000FFFF, 1, LNKA, 0},
                Package () {0x0000FFFF, 2, LNKB, 0}, Package () {0x0000FFFF, 3, LNKC, 0},
                Package () {0x0001FFFF, 0, LNKS, 0}, Package () {0x0001FFFF, 1, LNKB, 0},
                Package () {0x0001FFFF, 2, LNKC, 0}, Package () {0x0001FFFF, 3, LNKD, 0},
                Package () {0x0002FFFF, 0, LNKB, 0}, Package () {0x0002FFFF, 1, LNKC, 0},
                Package () {0x0002FFFF, 2, LNKD, 0}, Package () {0x0002FFFF, 3, LNKA, 0},
                Package () {0x0003FFFF, 0, LNKC, 0}, Package () {0x0003FFFF, 1, LNKD, 0},
                Package () {0x0003FFFF, 2, LNKA, 0}, Package () {0x0003FFFF, 3, LNKB, 0},
                Package () {0x0004FFFF, 0, LNKD, 0}, Package () {0x0004FFFF, 1, LNKA, 0},
                Package () {0x0004FFFF, 2, LNKB, 0}, Package () {0x0004FFFF, 3, LNKC, 0},
                Package () {0x0005FFFF, 0, LNKA, 0}, Package () {0x0005FFFF, 1, LNKB, 0},
                Package () {0x0005FFFF, 2, LNKC, 0}, Package () {0x0005FFFF, 3, LNKD, 0},
                Package () {0x0006FFFF, 0, LNKB, 0}, Package () {0x0006FFFF, 1, LNKC, 0},
                Package () {0x0006FFFF, 2, LNKD, 0}, Package () {0x0006FFFF, 3, LNKA, 0},
                Package () {0x0007FFFF, 0, LNKC, 0}, Package () {0x0007FFFF, 1, LNKD, 0},
                Package () {0x0007FFFF, 2, LNKA, 0}, Package () {0x0007FFFF, 3, LNKB, 0},
                Package () {0x0008FFFF, 0, LNKD, 0}, Package () {0x0008FFFF, 1, LNKA, 0},
                Package () {0x0008FFFF, 2, LNKB, 0}, Package () {0x0008FFFF, 3, LNKC, 0},
                Package () {0x0009FFFF, 0, LNKA, 0}, Package () {0x0009FFFF, 1, LNKB, 0},
                Package () {0x0009FFFF, 2, LNKC, 0}, Package () {0x0009FFFF, 3, LNKD, 0},
                Package () {0x000AFFFF, 0, LNKB, 0}, Package () {0x000AFFFF, 1, LNKC, 0},
                Package () {0x000AFFFF, 2, LNKD, 0}, Package () {0x000AFFFF, 3, LNKA, 0},
                Package () {0x000BFFFF, 0, LNKC, 0}, Package () {0x000BFFFF, 1, LNKD, 0},
                Package () {0x000BFFFF, 2, LNKA, 0}, Package () {0x000BFFFF, 3, LNKB, 0},
                Package () {0x000CFFFF, 0, LNKD, 0}, Package () {0x000CFFFF, 1, LNKA, 0},
                Package () {0x000CFFFF, 2, LNKB, 0}, Package () {0x000CFFFF, 3, LNKC, 0},
                Package () {0x000DFFFF, 0, LNKA, 0}, Package () {0x000DFFFF, 1, LNKB, 0},
                Package () {0x000DFFFF, 2, LNKC, 0}, Package () {0x000DFFFF, 3, LNKD, 0},
                Package () {0x000EFFFF, 0, LNKB, 0}, Package () {0x000EFFFF, 1, LNKC, 0},
                Package () {0x000EFFFF, 2, LNKD, 0}, Package () {0x000EFFFF, 3, LNKA, 0},
                Package () {0x000FFFFF, 0, LNKC, 0}, Package () {0x000FFFFF, 1, LNKD, 0},
                Package () {0x000FFFFF, 2, LNKA, 0}, Package () {0x000FFFFF, 3, LNKB, 0},
                Package () {0x0010FFFF, 0, LNKD, 0}, Package () {0x0010FFFF, 1, LNKA, 0},
                Package () {0x0010FFFF, 2, LNKB, 0}, Package () {0x0010FFFF, 3, LNKC, 0},
                Package () {0x0011FFFF, 0, LNKA, 0}, Package () {0x0011FFFF, 1, LNKB, 0},
                Package () {0x0011FFFF, 2, LNKC, 0}, Package () {0x0011FFFF, 3, LNKD, 0},
                Package () {0x0012FFFF, 0, LNKB, 0}, Package () {0x0012FFFF, 1, LNKC, 0},
                Package () {0x0012FFFF, 2, LNKD, 0}, Package () {0x0012FFFF, 3, LNKA, 0},
                Package () {0x0013FFFF, 0, LNKC, 0}, Package () {0x0013FFFF, 1, LNKD, 0},
                Package () {0x0013FFFF, 2, LNKA, 0}, Package () {0x0013FFFF, 3, LNKB, 0},
                Package () {0x0014FFFF, 0, LNKD, 0}, Package () {0x0014FFFF, 1, LNKA, 0},
                Package () {0x0014FFFF, 2, LNKB, 0}, Package () {0x0014FFFF, 3, LNKC, 0},
                Package () {0x0015FFFF, 0, LNKA, 0}, Package () {0x0015FFFF, 1, LNKB, 0},
                Package () {0x0015FFFF, 2, LNKC, 0}, Package () {0x0015FFFF, 3, LNKD, 0},
                Package () {0x0016FFFF, 0, LNKB, 0}, Package () {0x0016FFFF, 1, LNKC, 0},
                Package () {0x0016FFFF, 2, LNKD, 0}, Package () {0x0016FFFF, 3, LNKA, 0},
                Package () {0x0017FFFF, 0, LNKC, 0}, Package () {0x0017FFFF, 1, LNKD, 0},
                Package () {0x0017FFFF, 2, LNKA, 0}, Package () {0x0017FFFF, 3, LNKB, 0},
                Package () {0x0018FFFF, 0, LNKD, 0}, Package () {0x0018FFFF, 1, LNKA, 0},
                Package () {0x0018FFFF, 2, LNKB, 0}, Package () {0x0018FFFF, 3, LNKC, 0},
                Package () {0x0019FFFF, 0, LNKA, 0}, Package () {0x0019FFFF, 1, LNKB, 0},
                Package () {0x0019FFFF, 2, LNKC, 0}, Package () {0x0019FFFF, 3, LNKD, 0},
                Package () {0x001AFFFF, 0, LNKB, 0}, Package () {0x001AFFFF, 1, LNKC, 0},
                Package () {0x001AFFFF, 2, LNKD, 0}, Package () {0x001AFFFF, 3, LNKA, 0},
                Package () {0x001BFFFF, 0, LNKC, 0}, Package () {0x001BFFFF, 1, LNKD, 0},
                Package () {0x001BFFFF, 2, LNKA, 0}, Package () {0x001BFFFF, 3, LNKB, 0},
                Package () {0x001CFFFF, 0, LNKD, 0}, Package () {0x001CFFFF, 1, LNKA, 0},
                Package () {0x001CFFFF, 2, LNKB, 0}, Package () {0x001CFFFF, 3, LNKC, 0},
                Package () {0x001DFFFF, 0, LNKA, 0}, Package () {0x001DFFFF, 1, LNKB, 0},
                Package () {0x001DFFFF, 2, LNKC, 0}, Package () {0x001DFFFF, 3, LNKD, 0},
                Package () {0x001EFFFF, 0, LNKB, 0}, Package () {0x001EFFFF, 1, LNKC, 0},
                Package () {0x001EFFFF, 2, LNKD, 0}, Package () {0x001EFFFF, 3, LNKA, 0},
                Package () {0x001FFFFF, 0, LNKC, 0}, Package () {0x001FFFFF, 1, LNKD, 0},
                Package () {0x001FFFFF, 2, LNKA, 0}, Package () {0x001FFFFF, 3, LNKB, 0}
            })

            Device (ISA)
            {
                Name (_ADR, 0x00010000)
                OperationRegion (PIRQ, PCI_Config, 0x60, 0x04)

                Device (PIC)
                {
                    Name (_HID, EisaId ("PNP0000"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x0020, 0x0020, 0x00, 0x02)
                        IO (Decode16, 0x00A0, 0x00A0, 0x00, 0x02)
                        IRQNoFlags () {2}
                    })
                }

                Device (DMAC)
                {
                    Name (_HID, EisaId ("PNP0200"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x0000, 0x0000, 0x00, 0x10)
                        IO (Decode16, 0x0081, 0x0081, 0x00, 0x0F)
                        IO (Decode16, 0x00C0, 0x00C0, 0x00, 0x20)
                        DMA (Compatibility, NotBusMaster, Transfer8) {4}
                    })
                }

                Device (TIMR)
                {
                    Name (_HID, EisaId ("PNP0100"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x0040, 0x0040, 0x00, 0x04)
                        IRQNoFlags () {0}
                    })
                }

                Device (RTC)
                {
                    Name (_HID, EisaId ("PNP0B00"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x0070, 0x0070, 0x00, 0x02)
                        IRQNoFlags () {8}
                    })
                }

                Device (SPKR)
                {
                    Name (_HID, EisaId ("PNP0800"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x0061, 0x0061, 0x00, 0x01)
                    })
                }

                Device (COPR)
                {
                    Name (_HID, EisaId ("PNP0C04"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x00F0, 0x00F0, 0x00, 0x10)
                        IRQNoFlags () {13}
                    })
                }

                Device (KBD)
                {
                    Name (_HID, EisaId ("PNP0303"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x0060, 0x0060, 0x00, 0x01)
                        IO (Decode16, 0x0064, 0x0064, 0x00, 0x01)
                        IRQNoFlags () {1}
                    })
                }

                Device (MOU)
                {
                    Name (_HID, EisaId ("PNP0F13"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IRQNoFlags () {12}
                    })
                }

                Device (FDC0)
                {
                    Name (_HID, EisaId ("PNP0700"))
                    Method (_STA, 0, NotSerialized)
                    {
                        If (ESFD)
                        {
                            Return (0x0F)
                        }
                        Return (0x00)
                    }
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x03F2, 0x03F2, 0x00, 0x04)
                        IO (Decode16, 0x03F7, 0x03F7, 0x00, 0x01)
                        IRQNoFlags () {6}
                        DMA (Compatibility, NotBusMaster, Transfer8) {2}
                    })
                    // Which drives there are (ACPI 3.0, 9.10.1): A to D, and that there is no tape drive.
                    Method (_FDE, 0, Serialized)
                    {
                        Store (Buffer (0x14) {}, Local0)
                        CreateDWordField (Local0, 0x00, FDEA)
                        CreateDWordField (Local0, 0x04, FDEC)
                        CreateDWordField (Local0, 0x10, FDET)
                        Store (And (ESFD, 0x01), FDEA)
                        Store (ShiftRight (And (ESFD, 0x02), 0x01), FDEC)
                        Store (0x02, FDET)
                        Return (Local0)
                    }
                }

                Method (COMS, 1, NotSerialized)
                {
                    If (And (ESCM, Arg0))
                    {
                        Return (0x0F)
                    }
                    Return (0x00)
                }

                Device (COM1)
                {
                    Name (_HID, EisaId ("PNP0501"))
                    Name (_UID, 0x01)
                    Method (_STA, 0, NotSerialized)
                    {
                        Return (COMS (0x01))
                    }
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x03F8, 0x03F8, 0x00, 0x08)
                        IRQNoFlags () {4}
                    })
                }

                Device (COM2)
                {
                    Name (_HID, EisaId ("PNP0501"))
                    Name (_UID, 0x02)
                    Method (_STA, 0, NotSerialized)
                    {
                        Return (COMS (0x02))
                    }
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x02F8, 0x02F8, 0x00, 0x08)
                        IRQNoFlags () {3}
                    })
                }

                Device (COM3)
                {
                    Name (_HID, EisaId ("PNP0501"))
                    Name (_UID, 0x03)
                    Method (_STA, 0, NotSerialized)
                    {
                        Return (COMS (0x04))
                    }
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x03E8, 0x03E8, 0x00, 0x08)
                        IRQNoFlags () {4}
                    })
                }

                Device (COM4)
                {
                    Name (_HID, EisaId ("PNP0501"))
                    Name (_UID, 0x04)
                    Method (_STA, 0, NotSerialized)
                    {
                        Return (COMS (0x08))
                    }
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x02E8, 0x02E8, 0x00, 0x08)
                        IRQNoFlags () {3}
                    })
                }

                // Ports that no device above describes, so that nobody puts a PCI device there.
                Device (MRES)
                {
                    Name (_HID, EisaId ("PNP0C02"))
                    Name (_UID, 0x01)
                    Name (CRES, ResourceTemplate ()
                    {
                        IO (Decode16, 0x0600, 0x0600, 0x01, 0x40, PMIO)
                        IO (Decode16, 0x0700, 0x0700, 0x01, 0x10, SMIO)
                        IO (Decode16, 0x0080, 0x0080, 0x01, 0x01)
                        IO (Decode16, 0x0092, 0x0092, 0x01, 0x01)
                        IO (Decode16, 0x00B2, 0x00B2, 0x01, 0x02)
                        IO (Decode16, 0x00ED, 0x00ED, 0x01, 0x01)
                        IO (Decode16, 0x0402, 0x0402, 0x01, 0x01)
                        IO (Decode16, 0x04D0, 0x04D0, 0x01, 0x02)
                        IO (Decode16, 0x0510, 0x0510, 0x01, 0x0C)
                    })
                    Method (_CRS, 0, Serialized)
                    {
                        CreateWordField (CRES, \_SB.PCI0.ISA.MRES.PMIO._MIN, PMMN)
                        CreateWordField (CRES, \_SB.PCI0.ISA.MRES.PMIO._MAX, PMMX)
                        CreateWordField (CRES, \_SB.PCI0.ISA.MRES.SMIO._MIN, SMMN)
                        CreateWordField (CRES, \_SB.PCI0.ISA.MRES.SMIO._MAX, SMMX)
                        Store (ESPM, PMMN)
                        Store (ESPM, PMMX)
                        Add (ESPM, 0x0100, SMMN)
                        Store (SMMN, SMMX)
                        Return (CRES)
                    }
                }
            }
        }

        Field (\_SB.PCI0.ISA.PIRQ, ByteAcc, NoLock, Preserve)
        {
            PRQ0, 8,
            PRQ1, 8,
            PRQ2, 8,
            PRQ3, 8
        }

        // PIIX3 datasheet, PIRQRC: bit 7 disconnects the wire, bits 3:0 are the interrupt.
        Method (LSTA, 1, NotSerialized)
        {
            If (And (Arg0, 0x80))
            {
                Return (0x09)
            }
            Return (0x0B)
        }
        Method (LCRS, 1, Serialized)
        {
            Name (BUFF, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) {0}
            })
            CreateDWordField (BUFF, 0x05, INTN)
            If (LNot (And (Arg0, 0x80)))
            {
                Store (And (Arg0, 0x0F), INTN)
            }
            Return (BUFF)
        }

        Device (LNKA)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 0x01)
            Name (_PRS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) {5, 10, 11}
            })
            Method (_STA, 0, NotSerialized)
            {
                Return (LSTA (PRQ0))
            }
            Method (_DIS, 0, NotSerialized)
            {
                Or (PRQ0, 0x80, PRQ0)
            }
            Method (_CRS, 0, NotSerialized)
            {
                Return (LCRS (PRQ0))
            }
            Method (_SRS, 1, NotSerialized)
            {
                CreateDWordField (Arg0, 0x05, INTN)
                Store (INTN, PRQ0)
            }
        }

        Device (LNKB)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 0x02)
            Name (_PRS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) {5, 10, 11}
            })
            Method (_STA, 0, NotSerialized)
            {
                Return (LSTA (PRQ1))
            }
            Method (_DIS, 0, NotSerialized)
            {
                Or (PRQ1, 0x80, PRQ1)
            }
            Method (_CRS, 0, NotSerialized)
            {
                Return (LCRS (PRQ1))
            }
            Method (_SRS, 1, NotSerialized)
            {
                CreateDWordField (Arg0, 0x05, INTN)
                Store (INTN, PRQ1)
            }
        }

        Device (LNKC)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 0x03)
            Name (_PRS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) {5, 10, 11}
            })
            Method (_STA, 0, NotSerialized)
            {
                Return (LSTA (PRQ2))
            }
            Method (_DIS, 0, NotSerialized)
            {
                Or (PRQ2, 0x80, PRQ2)
            }
            Method (_CRS, 0, NotSerialized)
            {
                Return (LCRS (PRQ2))
            }
            Method (_SRS, 1, NotSerialized)
            {
                CreateDWordField (Arg0, 0x05, INTN)
                Store (INTN, PRQ2)
            }
        }

        Device (LNKD)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 0x04)
            Name (_PRS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) {5, 10, 11}
            })
            Method (_STA, 0, NotSerialized)
            {
                Return (LSTA (PRQ3))
            }
            Method (_DIS, 0, NotSerialized)
            {
                Or (PRQ3, 0x80, PRQ3)
            }
            Method (_CRS, 0, NotSerialized)
            {
                Return (LCRS (PRQ3))
            }
            Method (_SRS, 1, NotSerialized)
            {
                CreateDWordField (Arg0, 0x05, INTN)
                Store (INTN, PRQ3)
            }
        }

        // The SCI: hard-wired to interrupt 9.
        Device (LNKS)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 0x05)
            Name (_PRS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) {9}
            })
            Method (_STA, 0, NotSerialized)
            {
                Return (0x0B)
            }
            Method (_DIS, 0, NotSerialized)
            {
            }
            Method (_CRS, 0, NotSerialized)
            {
                Return (_PRS)
            }
            Method (_SRS, 1, NotSerialized)
            {
            }
        }

        Device (HPET)
        {
            Name (_HID, EisaId ("PNP0103"))
            Name (_UID, 0x00)
            Method (_STA, 0, NotSerialized)
            {
                If (ESHP)
                {
                    Return (0x0F)
                }
                Return (0x00)
            }
            Name (_CRS, ResourceTemplate ()
            {
                Memory32Fixed (ReadOnly, 0xFED00000, 0x00000400)
            })
        }
    }
}
