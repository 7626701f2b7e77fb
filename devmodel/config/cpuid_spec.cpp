// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/cpuid_spec.hpp"

#include "devmodel/config/nearest.hpp"
#include "devmodel/config/settings.hpp"

#include <algorithm>
#include <array>
#include <cctype>

#include <fmt/format.h>

namespace escalus {
namespace {

constexpr unsigned eax = 0, ebx = 1, ecx = 2, edx = 3;
constexpr std::uint32_t no_index = 0xffffffff;

/// The flags of one register, least significant bit first; "" is a bit without a name. Names as in Xen's
/// cpufeatureset.h, in lower case with hyphens; aliases after a '/'.
struct FlagRegister {
    std::uint32_t leaf, index;
    unsigned reg;
    std::array<std::string_view, 32> names;
};

constexpr FlagRegister flag_registers[] = {
    {1, no_index, edx, {"fpu",  "vme",   "de",   "pse",          "tsc",  "msr",    "pae",  "mce",
                        "cx8",  "apic",  "",     "sep/sysenter", "mtrr", "pge",    "mca",  "cmov",
                        "pat",  "pse36", "psn",  "clfsh",        "",     "ds",     "acpi", "mmx",
                        "fxsr", "sse",   "sse2", "ss",           "htt",  "tm/tm1", "ia64", "pbe"}},
    {1, no_index, ecx, {"sse3/pni",     "pclmulqdq",      "dtes64",        "monitor", "dscpl",  "vmx",
                        "smx",          "eist/est",       "tm2",           "ssse3",   "cntxid", "",
                        "fma",          "cx16/cmpxchg16", "xtpr/etprd",    "pdcm",    "",       "pcid",
                        "dca",          "sse4-1/sse4.1",  "sse4-2/sse4.2", "x2apic",  "movbe",  "popcnt",
                        "tsc-deadline", "aesni/aes",      "xsave",         "osxsave", "avx",    "f16c",
                        "rdrand",       "hypervisor"}},
    {7, 0, ebx, {"fsgsbase",    "tsc-adjust", "",           "bmi1",     "hle",        "avx2",     "",
                 "smep",        "bmi2",       "erms",       "invpcid",  "rtm",        "pqm/cmt",  "",
                 "mpx",         "pqe",        "avx512f",    "avx512dq", "rdseed",     "adx",      "smap",
                 "avx512-ifma", "",           "clflushopt", "clwb",     "proc-trace", "avx512pf", "avx512er",
                 "avx512cd",    "sha",        "avx512bw",   "avx512vl"}},
    {7,
     0,
     ecx,
     {"prefetchwt1",
      "avx512-vbmi",
      "umip",
      "pku",
      "ospke",
      "",
      "avx512-vbmi2",
      "cet-ss",
      "gfni",
      "vaes",
      "vpclmulqdq",
      "avx512-vnni",
      "avx512-bitalg",
      "",
      "avx512-vpopcntdq",
      "",
      "",
      "",
      "",
      "",
      "",
      "",
      "rdpid",
      "",
      "",
      "cldemote",
      "",
      "movdiri",
      "movdir64b",
      "enqcmd",
      "",
      ""}},
    {7,
     0,
     edx,
     {"",
      "",
      "avx512-4vnniw",
      "avx512-4fmaps",
      "fsrm",
      "",
      "",
      "",
      "avx512-vp2intersect",
      "srbds-ctrl",
      "md-clear",
      "",
      "",
      "tsx-force-abort",
      "serialize",
      "",
      "tsxldtrk",
      "",
      "",
      "",
      "cet-ibt",
      "",
      "",
      "avx512-fp16",
      "",
      "",
      "ibrsb",
      "stibp",
      "l1d-flush",
      "arch-caps",
      "core-caps",
      "ssbd"}},
    {0xd, 1, eax, {"xsaveopt", "xsavec", "xgetbv1", "xsaves"}},
    {0x80000001, no_index, edx, {"",         "",
                                 "",         "",
                                 "",         "",
                                 "",         "",
                                 "",         "",
                                 "",         "syscall",
                                 "",         "",
                                 "",         "",
                                 "",         "",
                                 "",         "mp",
                                 "nx",       "",
                                 "mmxext",   "",
                                 "",         "ffxsr/fxsr-opt",
                                 "page1gb",  "rdtscp",
                                 "",         "lm",
                                 "3dnowext", "3dnow"}},
    {0x80000001,
     no_index,
     ecx,
     {"lahf-lm/lahfsahf",
      "cmp-legacy/cmplegacy",
      "svm",
      "extapic",
      "cr8-legacy/altmovcr8",
      "abm",
      "sse4a",
      "misalignsse",
      "3dnowprefetch",
      "osvw",
      "ibs",
      "xop",
      "skinit",
      "wdt",
      "",
      "lwp",
      "fma4",
      "",
      "",
      "nodeid-msr/nodeid",
      "",
      "tbm",
      "topoext",
      "perfctr-core",
      "perfctr-nb",
      "",
      "dbext",
      "perftsc",
      "",
      "monitorx",
      "",
      ""}},
    {0x80000007, no_index, edx, {"", "", "", "", "", "", "", "", "itsc/invtsc", "efro"}},
    {0x80000008, no_index, ebx, {"clzero",    "",          "rstr-fp-err-ptrs",
                                 "",          "",          "",
                                 "",          "",          "",
                                 "wbnoinvd",  "",          "",
                                 "ibpb",      "",          "ibrs",
                                 "amd-stibp", "",          "",
                                 "",          "",          "",
                                 "",          "",          "ppin",
                                 "amd-ssbd",  "virt-ssbd", "ssb-no",
                                 "",          "psfd",      "",
                                 "",          ""}},
};

/// A field that holds a number: `bits` of it at `low`, more at `high`.
struct Field {
    std::string_view name;
    std::uint32_t leaf;
    unsigned reg, low, bits;
    std::uint64_t most;
};
constexpr Field fields[] = {
    {"stepping", 1, eax, 0, 4, 15}, {"model", 1, eax, 4, 4, 255},   {"family", 1, eax, 8, 4, 270},
    {"brandid", 1, ebx, 0, 8, 255}, {"clflush", 1, ebx, 8, 8, 255}, {"maxleaf", 0, eax, 0, 32, 0xffffffff},
};
constexpr std::array<std::string_view, 6> topology{"localapicid", "proccount",  "procpkg",
                                                   "nc",          "apicidsize", "maxhvleaf"};

constexpr bool has_name(std::string_view names, std::string_view wanted) {
    while (!names.empty()) {
        const auto slash = names.find('/');
        if (names.substr(0, slash) == wanted)
            return true;
        names.remove_prefix(slash == std::string_view::npos ? names.size() : slash + 1);
    }
    return false;
}

class CpuidParser {
  public:
    explicit CpuidParser(Diagnostics& diagnostics) : diagnostics_{&diagnostics} {}

    std::vector<CpuidOverride> result;

    void libxl(const Text& text) {
        bool first = true;
        for_each_part(text, ',', [&](std::string_view part, const Position& where) {
            if (first && part != "host")
                error(where, "the string must begin with 'host'", "write for example 'host,tm=0,sse3=0'");
            else if (!first)
                libxl_item(part, where);
            first = false;
        });
    }

    void xend(const Text& text) {
        const auto colon = text.text.find(':');
        const std::string_view leaves = std::string_view{text.text}.substr(0, colon);
        const auto comma = leaves.find(',');
        const auto leaf = to_integer(leaves.substr(0, comma));
        std::optional<std::int64_t> index;
        if (comma != std::string_view::npos)
            index = to_integer(leaves.substr(comma + 1));
        const auto is_u32 = [](std::int64_t n) { return n >= 0 && n <= 0xffffffff; };
        if (colon == std::string::npos || !leaf || !is_u32(*leaf) ||
            (comma != std::string_view::npos && (!index || !is_u32(*index))))
            return error(text.where, "a leaf and ':' are expected first",
                         "write LEAF:REGISTER=BITS or LEAF,SUBLEAF:REGISTER=BITS, for example "
                         "'1:ecx=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx0'");
        const Text registers{text.text.substr(colon + 1),
                             part_position(text.where, colon + 1, text.text.size() - colon - 1)};
        for_each_part(registers, ',', [&](std::string_view part, const Position& where) {
            xend_register(static_cast<std::uint32_t>(*leaf),
                          index ? std::optional{static_cast<std::uint32_t>(*index)} : std::nullopt, part,
                          where);
        });
    }

  private:
    void error(const Position& where, std::string message, std::string help) {
        diagnostics_->error(where, std::move(message), std::move(help));
    }

    template <typename Function>
    static void for_each_part(const Text& text, char separator, Function function) {
        for (std::size_t at = 0; at <= text.text.size();) {
            const auto end = std::min(text.text.find(separator, at), text.text.size());
            function(std::string_view{text.text}.substr(at, end - at),
                     part_position(text.where, at, end - at));
            at = end + 1;
        }
    }

    std::string& bits_of(std::uint32_t leaf, std::optional<std::uint32_t> index, unsigned reg) {
        const auto same = std::ranges::find_if(result, [&](const CpuidOverride& o) {
            return o.leaf == leaf && o.index == index && o.register_index == reg;
        });
        if (same != result.end())
            return same->bits;
        result.push_back({leaf, index, reg, std::string(32, 'x')});
        return result.back().bits;
    }

    void libxl_item(std::string_view part, const Position& where) {
        const auto equals = part.find('=');
        std::string key{part.substr(0, equals)};
        const std::string_view value = equals == std::string_view::npos ? "" : part.substr(equals + 1);
        std::ranges::transform(key, key.begin(), [](unsigned char c) {
            return c == '_' ? '-' : static_cast<char>(std::tolower(c));
        });
        if (std::ranges::find(topology, key) != topology.end())
            return error(where, fmt::format("'{}' cannot be set: it follows from vcpus", key),
                         "leave it away");
        if (const auto* field = std::ranges::find(fields, key, &Field::name); field != std::end(fields))
            return number(*field, value, where);
        for (const FlagRegister& r : flag_registers)
            for (unsigned bit = 0; bit < 32; ++bit)
                if (has_name(r.names[bit], key))
                    return flag(r, bit, value, where);
        unknown(key, where);
    }

    void flag(const FlagRegister& r, unsigned bit, std::string_view value, const Position& where) {
        if (value.size() != 1 || std::string_view{"01xks"}.find(value[0]) == std::string_view::npos)
            return error(where, fmt::format("a feature is 0, 1, x, k or s, not '{}'", value),
                         "0 hides it, 1 shows it, x is the default, k and s are the host's");
        const auto index = r.index == no_index ? std::nullopt : std::optional{r.index};
        bits_of(r.leaf, index, r.reg)[31 - bit] = value[0];
    }

    void number(const Field& field, std::string_view value, const Position& where) {
        const auto parsed = to_integer(value);
        if (!parsed || *parsed < 0 || static_cast<std::uint64_t>(*parsed) > field.most)
            return error(where, fmt::format("{} must be a number from 0 to {}", field.name, field.most), {});
        auto n = static_cast<std::uint64_t>(*parsed);
        std::string& bits = bits_of(field.leaf, {}, field.reg);
        const auto put = [&](std::uint64_t what, unsigned low, unsigned count) {
            for (unsigned i = 0; i < count; ++i)
                bits[31 - low - i] = (what >> i & 1) != 0 ? '1' : '0';
        };
        // CPUID.1.EAX: family above 15 continues in bits 27:20, model above 15 in 19:16.
        if (field.name == "family") {
            put(n > 15 ? n - 15 : 0, 20, 8);
            n = std::min<std::uint64_t>(n, 15);
        } else if (field.name == "model") {
            put(n >> 4, 16, 4);
            n &= 15;
        }
        put(n, field.low, field.bits);
    }

    void unknown(const std::string& key, const Position& where) {
        std::vector<std::string_view> names;
        for (const FlagRegister& r : flag_registers)
            for (const std::string_view name : r.names)
                if (!name.empty())
                    names.push_back(name.substr(0, name.find('/')));
        const std::string_view near = nearest(key, names);
        error(where, fmt::format("'{}' is not a CPU feature", key),
              near.empty() ? "the names are those of Xen's cpufeatureset.h, in lower case"
                           : fmt::format("did you mean {}?", near));
    }

    void xend_register(std::uint32_t leaf, std::optional<std::uint32_t> index, std::string_view part,
                       const Position& where) {
        constexpr std::array<std::string_view, 4> names{"eax", "ebx", "ecx", "edx"};
        const auto equals = part.find('=');
        std::string_view name = part.substr(0, equals);
        name.remove_prefix(std::min(name.find_first_not_of(' '), name.size()));
        const auto* const reg = std::ranges::find(names, name);
        if (reg == names.end() || equals == std::string_view::npos)
            return error(where, fmt::format("'{}' is not REGISTER=BITS", part),
                         "the registers are eax, ebx, ecx and edx");
        const std::string_view bits = part.substr(equals + 1);
        if (bits.size() != 32 || bits.find_first_not_of("01xks") != std::string_view::npos)
            return error(where,
                         fmt::format("a register has 32 bits of 0, 1, x, k or s; these are {} characters",
                                     bits.size()),
                         "the first character is bit 31");
        bits_of(leaf, index, static_cast<unsigned>(reg - names.begin())) = bits;
    }

    Diagnostics* diagnostics_;
};

} // namespace

std::vector<CpuidOverride> parse_cpuid(const Value& value, Diagnostics& diagnostics) {
    CpuidParser parser{diagnostics};
    const std::string help = "write cpuid = 'host,tm=0' or cpuid = [ '1:ecx=...' ]";
    if (value.kind == Value::Kind::String) {
        const Text text{value.text, content_position(value)};
        if (value.text.find(':') != std::string::npos) // one string of xend's list
            parser.xend(text);
        else
            parser.libxl(text);
    } else if (value.kind == Value::Kind::List) {
        for (const Value& item : value.items) {
            if (item.kind == Value::Kind::String)
                parser.xend({item.text, content_position(item)});
            else
                diagnostics.error(item.where, "cpuid must be a list of strings", help);
        }
    } else {
        diagnostics.error(value.where, "cpuid must be a string or a list of strings", help);
    }
    return std::move(parser.result);
}

} // namespace escalus
