// SPDX-License-Identifier: GPL-2.0-or-later
// SDM 3C, 26.3.1.2: segment registers.
#include "test/nested/vmx/invalid_state.hpp"

namespace escalus::nested::vmx {

namespace {

struct Segment {
    const char* name;
    unsigned index;
};
constexpr Segment segment_rows[] = {{"es", seg_es}, {"cs", seg_cs}, {"ss", seg_ss},
                                    {"ds", seg_ds}, {"fs", seg_fs}, {"gs", seg_gs}};

FAMILY(invalid_state, "v8086-base-", segment_rows, "SDM 3C, 26.3.1.2: the selector times 16") {
    Guest guest(Mode::Virtual8086, nothing16);
    write(base_of(row.index), read(base_of(row.index)) + 16);
    expect_refused(guest, Refusal::Guest, "26.3.1.2: a base in virtual-8086");
}
FAMILY(invalid_state, "v8086-limit-", segment_rows, "SDM 3C, 26.3.1.2: must be FFFFh") {
    Guest guest(Mode::Virtual8086, nothing16);
    write(limit_of(row.index), 0xfffe);
    expect_refused(guest, Refusal::Guest, "26.3.1.2: a limit in virtual-8086");
}
FAMILY(invalid_state, "v8086-rights-", segment_rows, "SDM 3C, 26.3.1.2: must be F3h") {
    Guest guest(Mode::Virtual8086, nothing16);
    write(rights_of(row.index), 0x93);
    expect_refused(guest, Refusal::Guest, "26.3.1.2: access rights in virtual-8086");
}
FAMILY(invalid_state, "not-present-", segment_rows, "SDM 3C, 26.3.1.2: P must be 1") {
    Guest guest(nothing64);
    clear_bits(rights_of(row.index), rights::present);
    expect_refused(guest, Refusal::Guest, "26.3.1.2: P is clear");
}
FAMILY(invalid_state, "system-", segment_rows, "SDM 3C, 26.3.1.2: S must be 1") {
    Guest guest(nothing64);
    clear_bits(rights_of(row.index), rights::code_or_data);
    expect_refused(guest, Refusal::Guest, "26.3.1.2: S is clear");
}
FAMILY(invalid_state, "reserved-right-8-", segment_rows, "SDM 3C, 26.3.1.2: bits 11:8 must be 0") {
    Guest guest(nothing64);
    set_bits(rights_of(row.index), 1 << 8);
    expect_refused(guest, Refusal::Guest, "26.3.1.2: a reserved access right");
}
FAMILY(invalid_state, "reserved-right-31-", segment_rows, "SDM 3C, 26.3.1.2: bits 31:17 must be 0") {
    Guest guest(nothing64);
    set_bits(rights_of(row.index), 1u << 31);
    expect_refused(guest, Refusal::Guest, "26.3.1.2: a reserved access right");
}
FAMILY(invalid_state, "granularity-set-", segment_rows, "SDM 3C, 26.3.1.2: G and limit bits 11:0") {
    Guest guest(Mode::Paged32, nothing32);
    write(limit_of(row.index), 0xffff'fffe);
    expect_refused(guest, Refusal::Guest, "26.3.1.2: the limit of");
}
FAMILY(invalid_state, "granularity-clear-", segment_rows, "SDM 3C, 26.3.1.2: G and limit bits 31:20") {
    Guest guest(Mode::Paged32, nothing32);
    write(limit_of(row.index), 0x10'0000);
    clear_bits(rights_of(row.index), rights::pages);
    expect_refused(guest, Refusal::Guest, "26.3.1.2: the limit of");
}

struct Rights {
    NumberedName name;
    unsigned segment, value;
    const char* reason;
};
constexpr Rights types[] = {
    {{"cs-", 0}, seg_cs, 0, "26.3.1.2: the type of CS"},
    {{"cs-", 1}, seg_cs, 1, "26.3.1.2: the type of CS"},
    {{"cs-", 2}, seg_cs, 2, "26.3.1.2: the type of CS"},
    {{"cs-", 5}, seg_cs, 5, "26.3.1.2: the type of CS"},
    {{"cs-", 7}, seg_cs, 7, "26.3.1.2: the type of CS"},
    {{"cs-", 8}, seg_cs, 8, "26.3.1.2: the type of CS"},
    {{"cs-", 10}, seg_cs, 10, "26.3.1.2: the type of CS"},
    {{"cs-", 12}, seg_cs, 12, "26.3.1.2: the type of CS"},
    {{"cs-", 14}, seg_cs, 14, "26.3.1.2: the type of CS"},
    {{"ss-", 0}, seg_ss, 0, "26.3.1.2: the type of SS"},
    {{"ss-", 1}, seg_ss, 1, "26.3.1.2: the type of SS"},
    {{"ss-", 2}, seg_ss, 2, "26.3.1.2: the type of SS"},
    {{"ss-", 5}, seg_ss, 5, "26.3.1.2: the type of SS"},
    {{"ss-", 11}, seg_ss, 11, "26.3.1.2: the type of SS"},
    {{"ss-", 15}, seg_ss, 15, "26.3.1.2: the type of SS"},
    {{"ds-", 0}, seg_ds, 0, "26.3.1.2: the type of DS"},
    {{"ds-", 2}, seg_ds, 2, "26.3.1.2: the type of DS"},
    {{"ds-", 9}, seg_ds, 9, "26.3.1.2: DS, ES, FS or GS is code"},
    {{"ds-", 10}, seg_ds, 10, "26.3.1.2: the type of DS"},
    {{"es-", 2}, seg_es, 2, "26.3.1.2: the type of DS"},
    {{"es-", 13}, seg_es, 13, "26.3.1.2: DS, ES, FS or GS is code"},
    {{"fs-", 6}, seg_fs, 6, "26.3.1.2: the type of DS"},
    {{"fs-", 9}, seg_fs, 9, "26.3.1.2: DS, ES, FS or GS is code"},
    {{"gs-", 4}, seg_gs, 4, "26.3.1.2: the type of DS"},
    {{"gs-", 13}, seg_gs, 13, "26.3.1.2: DS, ES, FS or GS is code"},
    {{"tr-", 0}, seg_tr, 0, "26.3.1.2: TR is not a busy task"},
    {{"tr-", 1}, seg_tr, 1, "26.3.1.2: TR is not a busy task"},
    {{"tr-", 2}, seg_tr, 2, "26.3.1.2: TR is not a busy task"},
    {{"tr-", 3}, seg_tr, 3, "26.3.1.2: TR is not a busy task"}, // 16 bits: not in IA-32e mode
    {{"tr-", 9}, seg_tr, 9, "26.3.1.2: TR is not a busy task"},
    {{"ldtr-", 0}, seg_ldtr, 0, "26.3.1.2: the access rights of LDTR"},
    {{"ldtr-", 3}, seg_ldtr, 3, "26.3.1.2: the access rights of LDTR"},
    {{"ldtr-", 11}, seg_ldtr, 11, "26.3.1.2: the access rights of LDTR"},
};
FAMILY(invalid_state, "type-of-", types, "SDM 3C, 26.3.1.2: the type of a segment") {
    Guest guest(nothing64);
    write(rights_of(row.segment), (read(rights_of(row.segment)) & ~15ull) | row.value);
    expect_refused(guest, Refusal::Guest, row.reason);
}

void restrict_guest() {
    clear_bits(Field::SecondaryControls, secondary::unrestricted);
}
void set_dpl(unsigned segment, unsigned dpl) {
    write(rights_of(segment),
          (read(rights_of(segment)) & ~0x60ull) | std::uint64_t{dpl} << rights::dpl_shift);
}
constexpr Mistake segment_mistakes[] = {
    {"tr-selector-ti", Refusal::Guest, "26.3.1.2: TR is in", [] { set_bits(selector_of(seg_tr), 4); },
     segment_checks},
    {"ldtr-selector-ti", Refusal::Guest, "26.3.1.2: LDTR is in", [] { set_bits(selector_of(seg_ldtr), 4); },
     segment_checks},
    {"ss-rpl-is-not-that-of-cs", Refusal::Guest, "26.3.1.2: the RPL of SS",
     [] {
         restrict_guest();
         set_bits(selector_of(seg_ss), 3);
     },
     segment_checks},
    {"tr-base-not-canonical", Refusal::Guest, "26.3.1.2: the base of TR",
     [] { write(base_of(seg_tr), not_canonical); }, segment_checks},
    {"ldtr-base-not-canonical", Refusal::Guest, "26.3.1.2: the base of TR or LDTR",
     [] { write(base_of(seg_ldtr), not_canonical); }, segment_checks},
    {"fs-base-not-canonical", Refusal::Guest, "26.3.1.2: the base of FS",
     [] { write(base_of(seg_fs), not_canonical); }, segment_checks},
    {"gs-base-not-canonical", Refusal::Guest, "26.3.1.2: the base of FS or GS",
     [] { write(base_of(seg_gs), not_canonical); }, segment_checks},
    {"cs-base-above-4g", Refusal::Guest, "26.3.1.2: the base of CS",
     [] { write(base_of(seg_cs), 1ull << 32); }, segment_checks},
    {"ss-base-above-4g", Refusal::Guest, "26.3.1.2: the base of CS, SS",
     [] { write(base_of(seg_ss), 1ull << 32); }, segment_checks},
    {"ds-base-above-4g", Refusal::Guest, "26.3.1.2: the base of CS, SS, DS",
     [] { write(base_of(seg_ds), 1ull << 32); }, segment_checks},
    {"es-base-above-4g", Refusal::Guest, "26.3.1.2: the base of CS, SS, DS or ES",
     [] { write(base_of(seg_es), 1ull << 32); }, segment_checks},
    {"cs-l-and-d", Refusal::Guest, "26.3.1.2: CS.L and CS.D",
     [] { set_bits(rights_of(seg_cs), rights::size_32); }, segment_checks},
    {"cs-dpl-is-not-that-of-ss", Refusal::Guest, "26.3.1.2: the DPL of CS and SS", [] { set_dpl(seg_cs, 3); },
     segment_checks},
    {"conforming-cs-dpl-above-that-of-ss", Refusal::Guest, "26.3.1.2: the DPL of conforming CS",
     [] {
         set_bits(rights_of(seg_cs), 4);
         set_dpl(seg_cs, 1);
     },
     segment_checks},
    {"data-cs-dpl-not-0", Refusal::Guest, "26.3.1.2: CS is a data segment",
     [] {
         write(rights_of(seg_cs), 0x93);
         set_dpl(seg_cs, 1);
     },
     segment_checks, Mode::Real},
    {"data-cs-when-restricted", Refusal::Guest, "26.3.1.2: the type of CS",
     [] {
         restrict_guest();
         write(rights_of(seg_cs), (read(rights_of(seg_cs)) & ~15ull) | 3);
     },
     segment_checks, Mode::Paged32},
    {"ss-dpl-is-not-its-rpl", Refusal::Guest, "26.3.1.2: the DPL of SS",
     [] {
         restrict_guest();
         set_bits(rights_of(seg_cs), 4); // conforming, so that the DPL of CS does not matter
         set_dpl(seg_ss, 3);
     },
     segment_checks},
    {"ss-dpl-in-real-mode", Refusal::Guest, "26.3.1.2: the DPL of SS is not 0",
     [] {
         set_dpl(seg_ss, 3);
         set_dpl(seg_cs, 3);
     },
     segment_checks, Mode::Real},
    {"ds-dpl-below-rpl", Refusal::Guest, "26.3.1.2: the DPL of DS",
     [] {
         restrict_guest();
         set_bits(selector_of(seg_ds), 3);
     },
     segment_checks},
    {"es-dpl-below-rpl", Refusal::Guest, "26.3.1.2: the DPL of DS",
     [] {
         restrict_guest();
         set_bits(selector_of(seg_es), 1);
     },
     segment_checks},
    {"fs-dpl-below-rpl", Refusal::Guest, "26.3.1.2: the DPL of DS",
     [] {
         restrict_guest();
         set_bits(selector_of(seg_fs), 2);
     },
     segment_checks},
    {"gs-dpl-below-rpl", Refusal::Guest, "26.3.1.2: the DPL of DS",
     [] {
         restrict_guest();
         set_bits(selector_of(seg_gs), 3);
     },
     segment_checks},
    {"tr-unusable", Refusal::Guest, "26.3.1.2: TR is not a busy task",
     [] { set_bits(rights_of(seg_tr), rights::unusable); }, segment_checks},
    {"tr-not-present", Refusal::Guest, "26.3.1.2: the access rights of TR",
     [] { clear_bits(rights_of(seg_tr), rights::present); }, segment_checks},
    {"tr-code-or-data", Refusal::Guest, "26.3.1.2: the access rights of TR",
     [] { set_bits(rights_of(seg_tr), rights::code_or_data); }, segment_checks},
    {"tr-reserved-right-11", Refusal::Guest, "26.3.1.2: the access rights of TR",
     [] { set_bits(rights_of(seg_tr), 1 << 11); }, segment_checks},
    {"tr-reserved-right-17", Refusal::Guest, "26.3.1.2: the access rights of TR",
     [] { set_bits(rights_of(seg_tr), 1 << 17); }, segment_checks},
    {"tr-granularity-set", Refusal::Guest, "26.3.1.2: the access rights of TR",
     [] { set_bits(rights_of(seg_tr), rights::pages); }, segment_checks},
    {"tr-granularity-clear", Refusal::Guest, "26.3.1.2: the access rights of TR",
     [] { write(limit_of(seg_tr), 0x10'0067); }, segment_checks},
    {"ldtr-not-present", Refusal::Guest, "26.3.1.2: the access rights of LDTR",
     [] { clear_bits(rights_of(seg_ldtr), rights::present); }, segment_checks},
    {"ldtr-code-or-data", Refusal::Guest, "26.3.1.2: the access rights of LDTR",
     [] { set_bits(rights_of(seg_ldtr), rights::code_or_data); }, segment_checks},
    {"ldtr-reserved-right-8", Refusal::Guest, "26.3.1.2: the access rights of LDTR",
     [] { set_bits(rights_of(seg_ldtr), 1 << 8); }, segment_checks},
    {"ldtr-reserved-right-20", Refusal::Guest, "26.3.1.2: the access rights of LDTR",
     [] { set_bits(rights_of(seg_ldtr), 1 << 20); }, segment_checks},
    {"ldtr-granularity-set", Refusal::Guest, "26.3.1.2: the access rights of LDTR",
     [] {
         set_bits(rights_of(seg_ldtr), rights::pages);
         write(limit_of(seg_ldtr), 0xfffe);
     },
     segment_checks},
    {"ldtr-granularity-clear", Refusal::Guest, "26.3.1.2: the access rights of LDTR",
     [] { write(limit_of(seg_ldtr), 0x10'ffff); }, segment_checks},
};
FAMILY(invalid_state, "segment-", segment_mistakes, "SDM 3C, 26.3.1.2") {
    check(row);
}

} // namespace

} // namespace escalus::nested::vmx
