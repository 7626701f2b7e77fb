// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/cpuid_policy.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <initializer_list>

namespace escalus {

namespace {

using Registers = std::array<std::uint32_t, 4>;
enum : unsigned { eax, ebx, ecx, edx };

constexpr std::uint32_t any_vcpu = 0xffffffff;

constexpr std::uint32_t bits(std::initializer_list<unsigned> numbers) {
    std::uint32_t mask = 0;
    for (const auto n : numbers)
        mask |= 1u << n;
    return mask;
}
constexpr std::uint32_t bit(unsigned n) {
    return 1u << n;
}

namespace leaf1_ecx {
constexpr unsigned x2apic = 21, tsc_deadline = 24, xsave = 26, hypervisor = 31;
// SSE3 PCLMULQDQ SSSE3 FMA CX16 SSE4.1 SSE4.2 MOVBE POPCNT AES XSAVE AVX F16C RDRAND
constexpr auto passed = bits({0, 1, 9, 12, 13, 19, 20, 22, 23, 25, 26, 28, 29, 30});
} // namespace leaf1_ecx
namespace leaf1_edx {
constexpr unsigned pae = 6, mce = 7, apic = 9, mtrr = 12, mca = 14, htt = 28;
// FPU VME DE PSE TSC MSR PAE CX8 SEP PGE CMOV PAT PSE36 CLFSH MMX FXSR SSE SSE2 SS
constexpr auto passed = bits({0, 1, 2, 3, 4, 5, 6, 8, 11, 13, 15, 16, 17, 19, 23, 24, 25, 26, 27});
constexpr auto added = bits({mce, mtrr, mca});
} // namespace leaf1_edx
// FSGSBASE BMI1 AVX2 FDP_EXCPTN SMEP BMI2 ERMS ZERO_FCS AVX512F AVX512DQ RDSEED ADX SMAP AVX512IFMA
// CLFLUSHOPT CLWB AVX512CD SHA AVX512BW AVX512VL
constexpr auto leaf7_ebx_passed =
    bits({0, 3, 5, 6, 7, 8, 9, 13, 16, 17, 18, 19, 20, 21, 23, 24, 28, 29, 30, 31});
// AVX512_VBMI UMIP AVX512_VBMI2 GFNI VAES VPCLMULQDQ AVX512_VNNI AVX512_BITALG AVX512_VPOPCNTDQ RDPID
constexpr auto leaf7_ecx_passed = bits({1, 2, 6, 8, 9, 10, 11, 12, 14, 22});
constexpr auto leaf7_edx_passed = bits({4}); // FSRM
// AVX-VNNI AVX512_BF16 FZRM FSRS FSRC
constexpr auto leaf7_1_eax_passed = bits({4, 5, 10, 11, 12});
// LAHF ABM SSE4A MISALIGNSSE 3DNOWPREFETCH XOP FMA4 TBM
constexpr auto extended_ecx_passed = bits({0, 5, 6, 7, 8, 11, 16, 21});
constexpr unsigned extended_ecx_cmp_legacy = 1, extended_ecx_topology = 22;
constexpr std::uint32_t leaf_amd_caches = 0x8000001d, leaf_amd_topology = 0x8000001e;
// SYSCALL NX MMXEXT FXSR_OPT 1GB-pages RDTSCP LM 3DNOWEXT 3DNOW
constexpr auto extended_edx_passed = bits({11, 20, 22, 25, 26, 27, 29, 30, 31});
constexpr unsigned extended_edx_nx = 20, extended_edx_lm = 29;
// AMD repeats these of leaf 1 there: FPU to CX8, APIC, MTRR to PSE36, MMX, FXSR
constexpr auto extended_edx_repeated = 0x0183f3ffu;
// Offered whatever the host says: all clocks of a guest derive from its TSC, which therefore runs at a
// constant rate by everything that the guest could compare it with. Without it Linux takes the TSCs of AMD's
// processors for unsynchronized as soon as there are two, and reads the HPET: one at a time, the others spin
// until the processor that does has had its exit. Where virtual CPUs are more than CPUs, that holds them up
// for a time slice each.
constexpr std::uint32_t invariant_tsc = bit(8);

// XSAVE components: x87, SSE, AVX, AVX-512 (three parts).
constexpr std::uint32_t xsave_components = 0x1 | 0x2 | 0x4 | 0xe0;

class Table {
  public:
    explicit Table(const CpuidPolicy& policy) : policy_{policy} {}

    [[nodiscard]] Registers host(std::uint32_t leaf, std::uint32_t index = 0) const {
        return policy_.host(leaf, index);
    }
    void add(std::uint32_t leaf, const Registers& r) { add_entry(leaf, 0, true, any_vcpu, r); }
    void add_indexed(std::uint32_t leaf, std::uint32_t index, const Registers& r,
                     std::uint32_t vcpu = any_vcpu) {
        add_entry(leaf, index, false, vcpu, r);
    }
    void add_for(std::uint32_t vcpu, std::uint32_t leaf, const Registers& r) {
        add_entry(leaf, 0, true, vcpu, r);
    }

    void basic_leaves();
    void hypervisor_leaves();
    void extended_leaves();
    void override_bits();
    void keep_consistent();

    std::vector<abi::CpuidEntry> take() { return std::move(entries_); }

  private:
    void add_entry(std::uint32_t leaf, std::uint32_t index, bool any_index, std::uint32_t vcpu,
                   const Registers& r) {
        entries_.push_back({leaf, index, any_index ? 1u : 0u, r[eax], r[ebx], r[ecx], r[edx], vcpu});
    }
    void feature_leaf();
    void cache_leaf(std::uint32_t leaf);
    void amd_topology_leaves();
    void xsave_leaf(std::uint32_t host_ecx);
    void topology_leaf();
    [[nodiscard]] bool intel() const {
        return host(0)[ebx] == 0x756e6547; // "Genu"
    }
    [[nodiscard]] unsigned id_bits() const {
        return static_cast<unsigned>(std::bit_width(policy_.vcpus - 1));
    }
    [[nodiscard]] std::uint32_t features_edx() const {
        auto r = (host(1)[edx] & leaf1_edx::passed) | leaf1_edx::added;
        if (policy_.apic)
            r |= bit(leaf1_edx::apic);
        return r;
    }

    const CpuidPolicy& policy_;
    std::vector<abi::CpuidEntry> entries_;
};

void Table::feature_leaf() {
    const auto native = host(1);
    auto r = native;
    r[ecx] = (native[ecx] & leaf1_ecx::passed) | bit(leaf1_ecx::hypervisor);
    if (policy_.apic && policy_.x2apic)
        r[ecx] |= bit(leaf1_ecx::x2apic);
    if (policy_.apic && policy_.tsc_deadline)
        r[ecx] |= bit(leaf1_ecx::tsc_deadline);
    r[edx] = features_edx();
    if (policy_.vcpus > 1)
        r[edx] |= bit(leaf1_edx::htt);
    for (unsigned vcpu = 0; vcpu < policy_.vcpus; ++vcpu) {
        // CLFLUSH line size stays; logical processors and initial APIC ID are this machine's.
        r[ebx] = (native[ebx] & 0xff00) | (policy_.vcpus << 16 & 0xff0000) | vcpu << 24;
        add_for(vcpu, 1, r);
    }
}

/// Leaf 4 and AMD's 0x8000001d: the same caches in the same form, but that only Intel counts the cores there.
/// A core has its L1 and L2 for itself; all share what comes after.
void Table::cache_leaf(std::uint32_t leaf) {
    for (std::uint32_t index = 0; index < 5; ++index) {
        auto r = host(leaf, index);
        const auto type = r[eax] & 0x1f;
        if (type == 0)
            break;
        const auto level = r[eax] >> 5 & 7;
        r[eax] &= 0x3ff;
        if (leaf == 4)
            r[eax] |= (policy_.vcpus - 1) << 26;
        if (level >= 3)
            r[eax] |= (policy_.vcpus - 1) << 14;
        add_indexed(leaf, index, r);
    }
}

/// AMD APM volume 3, E.4.17: each vCPU is a core with one thread, on the package's only node.
void Table::amd_topology_leaves() {
    cache_leaf(leaf_amd_caches);
    for (unsigned vcpu = 0; vcpu < policy_.vcpus; ++vcpu)
        add_for(vcpu, leaf_amd_topology, {vcpu, vcpu, 0, 0});
}

void Table::xsave_leaf(std::uint32_t host_ecx) {
    if ((host_ecx & bit(leaf1_ecx::xsave)) == 0)
        return;
    const auto components = host(0xd)[eax] & xsave_components;
    std::uint32_t size = 576; // legacy region and header
    for (std::uint32_t i = 2; i < 32; ++i)
        if ((components & bit(i)) != 0) {
            auto part = host(0xd, i);
            part[ecx] &= ~1u; // saved by XSAVE, not XSAVES
            part[edx] = 0;
            add_indexed(0xd, i, part);
            size = std::max(size, part[ebx] + part[eax]);
        }
    add_indexed(0xd, 0, {components, size, size, 0});
    // XSAVEOPT, XSAVEC, XGETBV with ECX = 1; no supervisor components.
    add_indexed(0xd, 1, {host(0xd, 1)[eax] & 7, size, 0, 0});
}

void Table::topology_leaf() {
    if (!policy_.apic || !policy_.x2apic)
        return;
    for (unsigned vcpu = 0; vcpu < policy_.vcpus; ++vcpu) {
        add_indexed(0xb, 0, {0, 1, 0x100, vcpu}, vcpu);                     // threads of a core
        add_indexed(0xb, 1, {id_bits(), policy_.vcpus, 0x201, vcpu}, vcpu); // cores of the package
    }
}

void Table::basic_leaves() {
    const auto vendor = host(0);
    const auto highest = std::min<std::uint32_t>(vendor[eax], intel() ? 0x15 : 0xd);
    add(0,
        {std::max<std::uint32_t>(highest, policy_.x2apic ? 0xb : 1), vendor[ebx], vendor[ecx], vendor[edx]});
    feature_leaf();
    if (intel()) {
        add(2, host(2));
        cache_leaf(4);
    }
    if (highest >= 6)
        add(6, {bit(2), 0, 0, 0}); // ARAT: the APIC timer never stops
    if (highest >= 7) {
        const auto native = host(7);
        const bool more = native[eax] >= 1;
        add_indexed(7, 0,
                    {more ? 1u : 0u, native[ebx] & leaf7_ebx_passed, native[ecx] & leaf7_ecx_passed,
                     native[edx] & leaf7_edx_passed});
        if (more)
            add_indexed(7, 1, {host(7, 1)[eax] & leaf7_1_eax_passed, 0, 0, 0});
    }
    topology_leaf();
    if (highest >= 0xd)
        xsave_leaf(host(1)[ecx]);
    if (highest >= 0x15 && intel()) {
        // TSC = crystal * EBX / EAX. The crystal clocks the APIC timer as well.
        constexpr std::uint32_t parts = 1'000'000;
        add(0x15, {parts, static_cast<std::uint32_t>(policy_.tsc_hz / (policy_.apic_timer_hz / parts)),
                   static_cast<std::uint32_t>(policy_.apic_timer_hz), 0});
    }
}

void Table::hypervisor_leaves() {
    Registers r{0x40000010, 0, 0, 0};
    std::memcpy(&r[ebx], guest_hypervisor_signature, 12);
    add(0x40000000, r);
    add(0x40000010, {static_cast<std::uint32_t>(policy_.tsc_hz / 1000),
                     static_cast<std::uint32_t>(policy_.apic_timer_hz / 1000), 0, 0});
    if (policy_.kvm_features != 0) {
        Registers kvm{leaf_kvm_features, 0, 0, 0};
        std::memcpy(&kvm[ebx], kvm_signature, 12);
        add(leaf_kvm, kvm);
        add(leaf_kvm_features, {policy_.kvm_features, 0, 0, 0});
    }
}

void Table::extended_leaves() {
    const auto native_highest = host(0x80000000);
    if (native_highest[eax] < 0x80000001)
        return;
    const bool topology = !intel() && policy_.apic && native_highest[eax] >= leaf_amd_topology &&
                          (host(0x80000001)[ecx] & bit(extended_ecx_topology)) != 0;
    const auto highest =
        topology ? leaf_amd_topology : std::min<std::uint32_t>(native_highest[eax], 0x80000008);
    add(0x80000000, {highest, native_highest[ebx], native_highest[ecx], native_highest[edx]});

    const auto features = host(0x80000001);
    auto r = features;
    r[ecx] &= extended_ecx_passed;
    r[edx] &= extended_edx_passed;
    if (!intel()) {
        r[edx] |= features_edx() & extended_edx_repeated;
        if (policy_.vcpus > 1)
            r[ecx] |= bit(extended_ecx_cmp_legacy);
        if (topology)
            r[ecx] |= bit(extended_ecx_topology);
    }
    add(0x80000001, r);
    for (std::uint32_t leaf = 0x80000002; leaf <= std::min(highest, 0x80000006u); ++leaf)
        add(leaf, host(leaf));
    if (highest >= 0x80000007)
        add(0x80000007, {0, 0, 0, invariant_tsc});
    if (highest >= 0x80000008) {
        const auto sizes = host(0x80000008);
        const auto physical =
            std::min(sizes[eax] & 0xff, static_cast<std::uint32_t>(std::bit_width(abi::gpa_limit - 1)));
        const auto linear = sizes[eax] >> 8 & 0xff;
        const auto cores = intel() ? 0 : id_bits() << 12 | (policy_.vcpus - 1);
        // CLZERO and the FPU error pointers' behaviour; the rest there is speculation control.
        add(0x80000008, {physical | std::min(linear, 48u) << 8, intel() ? 0 : sizes[ebx] & 5, cores, 0});
    }
    if (topology)
        amd_topology_leaves();
}

void Table::override_bits() {
    for (const auto& change : policy_.overrides) {
        const auto native = host(change.leaf, change.index.value_or(0));
        bool found = false;
        for (auto& entry : entries_) {
            if (entry.function != change.leaf ||
                (change.index && entry.any_index == 0 && entry.index != *change.index))
                continue;
            found = true;
            std::uint32_t* const registers[] = {&entry.eax, &entry.ebx, &entry.ecx, &entry.edx};
            auto& value = *registers[change.register_index & 3];
            for (unsigned i = 0; i < 32 && i < change.bits.size(); ++i) {
                const auto mask = 1u << (31 - i);
                switch (change.bits[i]) {
                case '0':
                    value &= ~mask;
                    break;
                case '1':
                    value |= mask;
                    break;
                case 'k': // as the host has it, also where the default hides it
                case 's':
                    value = (value & ~mask) | (native[change.register_index & 3] & mask);
                    break;
                default: // 'x': the default
                    break;
                }
            }
        }
        if (!found) {
            // A leaf of the user's own making: what is not said is 0.
            Registers r{};
            for (unsigned i = 0; i < 32 && i < change.bits.size(); ++i)
                if (change.bits[i] == '1')
                    r[change.register_index & 3] |= 1u << (31 - i);
            add_entry(change.leaf, change.index.value_or(0), !change.index, any_vcpu, r);
        }
    }
}

/// Combinations that guests trip over, which overrides could have made.
void Table::keep_consistent() {
    const auto basic = cpuid_lookup(entries_, 1);
    for (auto& entry : entries_) {
        if (entry.function == 0x80000001 && (basic[edx] & bit(leaf1_edx::pae)) == 0)
            entry.edx &= ~bits({extended_edx_nx, extended_edx_lm}); // NX without PAE: Solaris panics
        if (entry.function == 0xd && (basic[ecx] & bit(leaf1_ecx::xsave)) == 0)
            entry.eax = entry.ebx = entry.ecx = entry.edx = 0;
    }
}

} // namespace

std::vector<abi::CpuidEntry> build_cpuid(const CpuidPolicy& policy) {
    Table table{policy};
    table.basic_leaves();
    table.hypervisor_leaves();
    table.extended_leaves();
    table.override_bits();
    table.keep_consistent();
    return table.take();
}

std::array<std::uint32_t, 4> cpuid_lookup(std::span<const abi::CpuidEntry> table, std::uint32_t leaf,
                                          std::uint32_t index, std::uint32_t vcpu) {
    for (const auto& e : table)
        if (e.function == leaf && (e.any_index != 0 || e.index == index) &&
            (e.vcpu == any_vcpu || e.vcpu == vcpu))
            return {e.eax, e.ebx, e.ecx, e.edx};
    return {};
}

unsigned physical_address_bits(std::span<const abi::CpuidEntry> table) {
    const auto bits_of = cpuid_lookup(table, 0x80000008)[0] & 0xff;
    return bits_of == 0 ? 36 : bits_of;
}

} // namespace escalus
