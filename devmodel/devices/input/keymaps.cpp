// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/input/keymaps.hpp"

namespace escalus::keymaps {

namespace {
constexpr KeyNumber digits[] = {0x29, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d};
constexpr KeyNumber upper[] = {0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b};
constexpr KeyNumber middle[] = {0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x2b};
constexpr KeyNumber lower[] = {0x56, 0x2c, 0x2d, 0x2e, 0x2f, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35};

// X11's names for dead keys.
constexpr std::uint32_t grave = 0xfe50, acute = 0xfe51, circumflex = 0xfe52, tilde = 0xfe53,
                        diaeresis = 0xfe57;
constexpr DeadKey german_dead[] = {
    {circumflex, 0x29}, {acute, 0x0d}, {grave, 0x0d, true}, {diaeresis, 0x1a, false, true}};
constexpr DeadKey french_dead[] = {
    {circumflex, 0x1a}, {diaeresis, 0x1a, true}, {tilde, 0x03, false, true}, {grave, 0x08, false, true}};
} // namespace

const std::array<std::span<const KeyNumber>, 4> rows{digits, upper, middle, lower};

// In the German layout ^ ` and the acute accent are dead keys: a viewer that sends the finished character
// means the same key.
const std::array<Layout, 4> layouts{{
    {"en-us",
     {U"`1234567890-=", U"qwertyuiop[]", U"asdfghjkl;'\\", U" zxcvbnm,./"},
     {U"~!@#$%^&*()_+", U"QWERTYUIOP{}", U"ASDFGHJKL:\"|", U" ZXCVBNM<>?"},
     {},
     {}},
    {"en-gb",
     {U"`1234567890-=", U"qwertyuiop[]", U"asdfghjkl;'#", U"\\zxcvbnm,./"},
     {U"\u00ac!\"\u00a3$%^&*()_+", U"QWERTYUIOP{}", U"ASDFGHJKL:@~", U"|ZXCVBNM<>?"},
     {U"\u00a6   \u20ac", U"  \u00e9   \u00fa\u00ed\u00f3", U"\u00e1"},
     {}},
    {"de",
     {U"^1234567890\u00df\u00b4", U"qwertzuiop\u00fc+", U"asdfghjkl\u00f6\u00e4#", U"<yxcvbnm,.-"},
     {U"\u00b0!\"\u00a7$%&/()=?`", U"QWERTZUIOP\u00dc*", U"ASDFGHJKL\u00d6\u00c4'", U">YXCVBNM;:_"},
     {U"  \u00b2\u00b3   {[]}\\", U"@ \u20ac        ~", U"", U"|      \u00b5"},
     german_dead},
    {"fr",
     {U"\u00b2&\u00e9\"'(-\u00e8_\u00e7\u00e0)=", U"azertyuiop^$", U"qsdfghjklm\u00f9*", U"<wxcvbn,;:!"},
     {U" 1234567890\u00b0+", U"AZERTYUIOP\u00a8\u00a3", U"QSDFGHJKLM%\u00b5", U">WXCVBN?./\u00a7"},
     {U"  ~#{[|`\\^@]}", U"  \u20ac        \u00a4", U"", U""},
     french_dead},
}};

const std::array<Synonym, 3> synonyms{{{"uk", "en-gb"}, {"gb", "en-gb"}, {"us", "en-us"}}};

} // namespace escalus::keymaps
