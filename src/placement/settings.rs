//! Which placement a pool uses: a closed set of kinds, with their settings and how people write them.

use crate::placement::dialect::Kind;
use crate::placement::dialect::settings::EnvoyMaglev;
use crate::placement::dialect::settings::EnvoyRingHash;
use crate::placement::dialect::settings::Haproxy;
use crate::placement::dialect::settings::HaproxyMap;
use crate::placement::dialect::settings::Twemproxy;
use crate::section::format_decimal;
use crate::section::nearest;
use crate::section::parse_decimal;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Map;
use serde_json::Value;
use std::fmt;
use std::ops::Range;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Which placement a pool uses, with its settings; in JSON `{"kind":"ring","vnodes":512}`, for people `ring`,
/// `ring vnodes=256`, `table slots=262144 cap=1.05` or `haproxy hash=crc32 avalanche=true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum PlacementSettings {
    /// Envoy's `MAGLEV`.
    EnvoyMaglev(EnvoyMaglev),
    /// Envoy's `RING_HASH`.
    EnvoyRingHash(EnvoyRingHash),
    /// HAProxy's `hash-type consistent`.
    Haproxy(Haproxy),
    /// The same in HAProxy 3.0 until the fix of October 2025.
    #[serde(rename = "haproxy-3.0")]
    Haproxy30(Haproxy),
    /// HAProxy's `hash-type map-based`.
    HaproxyMap(HaproxyMap),
    /// ingress-nginx's `upstream-hash-by`.
    IngressNginx,
    /// libketama.
    Ketama,
    /// nginx's `hash ... consistent`.
    Nginx,
    /// nginx's `hash` without `consistent`.
    NginxModulo,
    /// The vnode ring with the closest-point rule.
    Ring {
        /// Points per unit of weight, 1 to [`VNODES_MAX`].
        #[serde(default = "vnodes_default")]
        vnodes: u32,
    },
    /// The slot table, in which no node has more than `cap` times its fair share.
    Table {
        /// How many slots there are.
        #[serde(default)]
        slots: Slots,
        /// The most that a node gets, over its fair share.
        #[serde(default)]
        cap: Cap,
    },
    /// twemproxy's `distribution: ketama`.
    Twemproxy(Twemproxy),
}

/// [`PlacementSettings`] by who builds from them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Family {
    /// The placements of other programs.
    Dialect(Kind),
    /// The vnode ring.
    Ring { vnodes: u32 },
    /// The slot table.
    Table { slots: Slots, cap: Cap },
}

impl PlacementSettings {
    /// The other program whose placement it is; `None` for Ringway's own.
    pub fn dialect(self) -> Option<Kind> {
        match self.family() {
            Family::Dialect(kind) => Some(kind),
            Family::Ring { .. } | Family::Table { .. } => None,
        }
    }

    /// Whether it is a list of slots; if not, points.
    pub fn is_of_slots(self) -> bool {
        match self.family() {
            Family::Dialect(kind) => kind.is_of_slots(),
            Family::Ring { .. } => false,
            Family::Table { .. } => true,
        }
    }

    /// The same with all other programs as one.
    pub(crate) fn family(self) -> Family {
        Family::Dialect(match self {
            PlacementSettings::EnvoyMaglev(settings) => Kind::EnvoyMaglev(settings),
            PlacementSettings::EnvoyRingHash(settings) => Kind::EnvoyRingHash(settings),
            PlacementSettings::Haproxy(settings) => Kind::Haproxy(settings),
            PlacementSettings::Haproxy30(settings) => Kind::Haproxy30(settings),
            PlacementSettings::HaproxyMap(settings) => Kind::HaproxyMap(settings),
            PlacementSettings::IngressNginx => Kind::IngressNginx,
            PlacementSettings::Ketama => Kind::Ketama,
            PlacementSettings::Nginx => Kind::Nginx,
            PlacementSettings::NginxModulo => Kind::NginxModulo,
            PlacementSettings::Twemproxy(settings) => Kind::Twemproxy(settings),
            PlacementSettings::Ring { vnodes } => return Family::Ring { vnodes },
            PlacementSettings::Table { slots, cap } => return Family::Table { slots, cap },
        })
    }

    /// The name of its kind.
    pub fn kind(self) -> &'static str {
        match self {
            PlacementSettings::EnvoyMaglev(_) => "envoy-maglev",
            PlacementSettings::EnvoyRingHash(_) => "envoy-ring-hash",
            PlacementSettings::Haproxy(_) => "haproxy",
            PlacementSettings::Haproxy30(_) => "haproxy-3.0",
            PlacementSettings::HaproxyMap(_) => "haproxy-map",
            PlacementSettings::IngressNginx => "ingress-nginx",
            PlacementSettings::Ketama => "ketama",
            PlacementSettings::Nginx => "nginx",
            PlacementSettings::NginxModulo => "nginx-modulo",
            PlacementSettings::Ring { .. } => "ring",
            PlacementSettings::Table { .. } => "table",
            PlacementSettings::Twemproxy(_) => "twemproxy",
        }
    }

    /// The names of the settings that its kind has.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            PlacementSettings::EnvoyMaglev(_) => &["table-size"],
            PlacementSettings::EnvoyRingHash(_) => &["hash", "minimum-size", "maximum-size"],
            PlacementSettings::Haproxy(_) | PlacementSettings::Haproxy30(_) => &["hash", "avalanche", "hash-key"],
            PlacementSettings::HaproxyMap(_) => &["hash", "avalanche"],
            PlacementSettings::IngressNginx
            | PlacementSettings::Ketama
            | PlacementSettings::Nginx
            | PlacementSettings::NginxModulo => &[],
            PlacementSettings::Ring { .. } => &["vnodes"],
            PlacementSettings::Table { .. } => &["slots", "cap"],
            PlacementSettings::Twemproxy(_) => &["hash"],
        }
    }

    /// Every setting with its value, in the order of [`PlacementSettings::names`].
    pub fn values(self) -> Vec<(&'static str, Value)> {
        let json = serde_json::to_value(self).unwrap_or_default();
        self.names().iter().map(|name| (*name, json[field(name)].clone())).collect()
    }

    /// As [`fmt::Display`], with the settings that stand at their defaults too.
    pub fn in_full(self) -> String {
        written(self.kind(), &self.values())
    }

    /// A sentence for the user who gave this kind a setting that it does not have.
    pub fn has_no(self, name: &str) -> String {
        let kind = self.kind();
        match self.names() {
            [] => format!("`{kind}` has no setting `{name}`, nor any other"),
            names => format!("`{kind}` has no setting `{name}`; it has `{}`", names.join("` and `")),
        }
    }

    /// The kind of that name, with its settings at their defaults. The error is a sentence for the user.
    pub fn of_kind(kind: &str) -> Result<PlacementSettings, String> {
        let known = || PlacementSettings::of_kinds().map(PlacementSettings::kind);
        let found = PlacementSettings::of_kinds().find(|settings| settings.kind() == kind);
        found.ok_or_else(|| match nearest(kind, known()) {
            Some(name) => format!("unknown placement `{kind}`; did you mean `{name}`?"),
            None => format!("unknown placement `{kind}`; use one of {}", known().collect::<Vec<_>>().join(", ")),
        })
    }

    /// Every kind, with its settings at their defaults.
    pub fn of_kinds() -> impl Iterator<Item = PlacementSettings> {
        let own =
            [PlacementSettings::default(), PlacementSettings::Table { slots: Slots::default(), cap: Cap::default() }];
        let others = [
            PlacementSettings::Nginx,
            PlacementSettings::NginxModulo,
            PlacementSettings::IngressNginx,
            PlacementSettings::Haproxy(Haproxy::default()),
            PlacementSettings::Haproxy30(Haproxy::default()),
            PlacementSettings::HaproxyMap(HaproxyMap::default()),
            PlacementSettings::EnvoyRingHash(EnvoyRingHash::default()),
            PlacementSettings::EnvoyMaglev(EnvoyMaglev::default()),
            PlacementSettings::Ketama,
            PlacementSettings::Twemproxy(Twemproxy::default()),
        ];
        own.into_iter().chain(others)
    }

    /// The same kind with these settings and the others at their defaults, which may depend on these. The error names
    /// the setting that is wrong by its place among them, and says why in a sentence for the user.
    pub fn with(self, settings: &[(&str, Value)]) -> Result<PlacementSettings, (usize, String)> {
        let mut json = Map::from_iter([("kind".to_owned(), self.kind().into())]);
        for (place, (name, value)) in settings.iter().enumerate() {
            if !self.names().contains(name) {
                return Err((place, self.has_no(name)));
            }
            json.insert(field(name), value.clone());
            let read = serde_json::from_value::<PlacementSettings>(json.clone().into());
            read.map_err(|error| (place, refusal(name, value, &error.to_string())))?;
        }
        serde_json::from_value(json.into()).map_err(|error| (0, error.to_string()))
    }

    /// Takes a setting as people write it, such as `vnodes=256`.
    fn set(&mut self, written: &str) -> Result<(), String> {
        let (name, value) = written.split_once('=').unwrap_or((written, ""));
        match (&mut *self, name) {
            (PlacementSettings::Ring { vnodes }, "vnodes") => *vnodes = parse_vnodes(value)?,
            (PlacementSettings::Table { slots, .. }, "slots") => *slots = value.parse()?,
            (PlacementSettings::Table { cap, .. }, "cap") => *cap = value.parse()?,
            _ => return Err(self.has_no(name)),
        }
        Ok(())
    }
}

impl Default for PlacementSettings {
    fn default() -> PlacementSettings {
        PlacementSettings::Ring { vnodes: VNODES_DEFAULT }
    }
}

/// The kind, and the settings that do not stand at their defaults.
impl fmt::Display for PlacementSettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = self.values();
        // The default of one may depend on another, so what is left out is what makes no difference, and that is looked
        // for twice.
        for name in self.names().iter().rev().chain(self.names()) {
            let without: Vec<_> = told.iter().filter(|(told, _)| told != name).cloned().collect();
            if self.with(&without).as_ref() == Ok(self) {
                told = without;
            }
        }
        out.write_str(&written(self.kind(), &told))
    }
}

/// Reads what [`fmt::Display`] writes. The error is a sentence for the user.
impl FromStr for PlacementSettings {
    type Err = String;

    fn from_str(text: &str) -> Result<PlacementSettings, String> {
        let mut words = text.split_whitespace();
        let mut settings = PlacementSettings::of_kind(words.next().unwrap_or_default())?;
        if settings.dialect().is_some() {
            let pairs = words.map(|word| word.split_once('=').unwrap_or((word, "")));
            let values: Vec<_> = pairs.map(|(name, value)| (name, value_of(value))).collect();
            return settings.with(&values).map_err(|(_, message)| message);
        }
        words.try_for_each(|word| settings.set(word))?;
        Ok(settings)
    }
}

/// A kind and settings as people write them.
fn written(kind: &str, values: &[(&str, Value)]) -> String {
    values.iter().fold(kind.to_owned(), |text, (name, value)| format!("{text} {name}={}", plain(value)))
}

/// What stands behind a setting's name, as the simplest value that is written so.
fn value_of(text: &str) -> Value {
    match (text.parse::<u32>(), text.parse::<bool>()) {
        (Ok(number), _) => number.into(),
        (_, Ok(flag)) => flag.into(),
        _ => text.into(),
    }
}

/// A value without the quotes of JSON, and a whole number without a fraction.
fn plain(value: &Value) -> String {
    let json = value.to_string();
    value.as_str().unwrap_or(json.strip_suffix(".0").unwrap_or(&json)).to_owned()
}

/// The name of a setting in JSON.
fn field(name: &str) -> String {
    name.replace('-', "_")
}

/// Why serde does not take a value, for people.
fn refusal(name: &str, value: &Value, error: &str) -> String {
    let expected = error.split_once("expected ").map_or(error, |(_, expected)| expected);
    let expected = match expected {
        "a boolean" => "`true` or `false`",
        "u32" => "a whole number",
        other => other,
    };
    format!("`{name}` is {}; it must be {expected}", plain(value))
}

/// How many slots a table has: a power of two from 256 to 4,194,304. In JSON that number.
// Kept as the number of a position's top bits that tell the slot.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "u32", into = "u32")]
#[schema(value_type = u32, minimum = 256, maximum = 4_194_304, default = 65_536, example = 65_536)]
pub struct Slots(u32);

impl Slots {
    /// The smallest number of slots that is at least so many; `None` when that is too many.
    pub fn at_least(count: u64) -> Option<Slots> {
        let count = u32::try_from(count.max(u64::from(SLOTS_MIN))).ok()?;
        Slots::try_from(count.checked_next_power_of_two()?).ok()
    }

    /// How many there are.
    pub fn count(self) -> u32 {
        1 << self.0
    }

    /// All of them, by number.
    pub(crate) fn all(self) -> Range<u32> {
        0..self.count()
    }

    /// The one in which a position lies.
    #[inline]
    pub(crate) fn of(self, position: u64) -> u32 {
        u32::try_from(position >> (u64::BITS - self.0)).expect("at most SLOTS_MAX slots")
    }

    /// The positions in a slot.
    pub(crate) fn range(self, slot: u32) -> RangeInclusive<u64> {
        let shift = u64::BITS - self.0;
        let start = u64::from(slot) << shift;
        start..=start | ((1 << shift) - 1)
    }
}

impl Default for Slots {
    fn default() -> Slots {
        Slots(16)
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Slots({self})")
    }
}

impl fmt::Display for Slots {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.count())
    }
}

/// The error is a sentence for the user.
impl TryFrom<u32> for Slots {
    type Error = String;

    fn try_from(count: u32) -> Result<Slots, String> {
        let is_fine = count.is_power_of_two() && (SLOTS_MIN..=SLOTS_MAX).contains(&count);
        is_fine.then(|| Slots(count.ilog2())).ok_or_else(|| wrong_slots(&count.to_string()))
    }
}

impl FromStr for Slots {
    type Err = String;

    fn from_str(text: &str) -> Result<Slots, String> {
        text.parse::<u32>().map_err(|_| wrong_slots(text))?.try_into()
    }
}

impl From<Slots> for u32 {
    fn from(slots: Slots) -> u32 {
        slots.count()
    }
}

/// The most that a node of a table gets, over its fair share: 1 to 2 with at most three digits after the point. In JSON
/// a number.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "f64", into = "f64")]
#[schema(value_type = f64, minimum = 1, maximum = 2, default = 1.02, example = 1.02)]
pub struct Cap(u32);

impl Cap {
    /// The error is a sentence for the user.
    pub fn of_thousandths(thousandths: u32) -> Result<Cap, String> {
        let is_fine = CAPS.contains(&thousandths);
        is_fine.then_some(Cap(thousandths)).ok_or_else(|| wrong_cap(&format_decimal(u64::from(thousandths))))
    }

    /// In thousandths.
    pub fn thousandths(self) -> u32 {
        self.0
    }
}

impl Default for Cap {
    fn default() -> Cap {
        Cap(1_020)
    }
}

impl fmt::Debug for Cap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Cap({self})")
    }
}

impl fmt::Display for Cap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&format_decimal(u64::from(self.0)))
    }
}

impl FromStr for Cap {
    type Err = String;

    fn from_str(text: &str) -> Result<Cap, String> {
        let thousandths = parse_decimal(text).ok().and_then(|thousandths| u32::try_from(thousandths).ok());
        Cap::of_thousandths(thousandths.ok_or_else(|| wrong_cap(text))?)
    }
}

/// From the shortest text that reads as this number, so that what was written in decimal is what counts.
impl TryFrom<f64> for Cap {
    type Error = String;

    fn try_from(number: f64) -> Result<Cap, String> {
        number.to_string().parse()
    }
}

/// The number closest to it, which is written with the same digits.
impl From<Cap> for f64 {
    fn from(cap: Cap) -> f64 {
        f64::from(cap.0) / 1_000.0
    }
}

fn parse_vnodes(text: &str) -> Result<u32, String> {
    let vnodes = text.parse().ok().filter(|vnodes| (1..=VNODES_MAX).contains(vnodes));
    vnodes.ok_or_else(|| format!("`vnodes` is {text}; it must be 1 to {VNODES_MAX}"))
}

fn vnodes_default() -> u32 {
    VNODES_DEFAULT
}

fn wrong_slots(given: &str) -> String {
    let count = given.parse().ok().and_then(|count: u64| Slots::at_least(count.clamp(1, u64::from(SLOTS_MAX))));
    let count = count.unwrap_or_default();
    format!("`slots` is {given}; it must be a power of two from {SLOTS_MIN} to {SLOTS_MAX}, such as {count}")
}

fn wrong_cap(given: &str) -> String {
    format!("`cap` is {given}; it must be 1 to 2, with at most three digits after the point")
}

/// Points per unit of weight where nothing else is said: the busiest of 100 equal nodes gets 1.08 times the
/// average.
pub const VNODES_DEFAULT: u32 = 512;

/// The most points per unit of weight.
pub const VNODES_MAX: u32 = 65_536;

/// The fewest slots of a table.
pub const SLOTS_MIN: u32 = 256;

/// The most slots of a table, which then takes about 75 MB.
pub const SLOTS_MAX: u32 = 1 << 22;

/// What [`Cap`] may be, in thousandths.
pub const CAPS: RangeInclusive<u32> = 1_000..=2_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::dialect::settings::HaproxyHash;
    use crate::placement::dialect::settings::HashKey;
    use crate::placement::dialect::settings::TwemproxyHash;

    fn haproxy(hash: HaproxyHash, avalanche: bool) -> PlacementSettings {
        PlacementSettings::Haproxy(Haproxy { hash, avalanche, hash_key: HashKey::Id })
    }

    fn table(slots: u32, cap: &str) -> PlacementSettings {
        PlacementSettings::Table { slots: slots.try_into().unwrap(), cap: cap.parse().unwrap() }
    }

    #[test]
    fn json_may_leave_out_what_stands_at_its_default() {
        for (short, long, settings) in [
            (r#"{"kind":"ring"}"#, r#"{"kind":"ring","vnodes":512}"#, PlacementSettings::default()),
            (r#"{"kind":"table"}"#, r#"{"kind":"table","slots":65536,"cap":1.02}"#, table(65_536, "1.02")),
        ] {
            assert_eq!(serde_json::from_str::<PlacementSettings>(short).unwrap(), settings);
            assert_eq!(serde_json::to_string(&settings).unwrap(), long);
        }
    }

    #[test]
    fn every_cap_reads_back_from_json_and_text() {
        for thousandths in CAPS {
            let cap = Cap(thousandths);
            let json = serde_json::to_string(&cap).unwrap();
            assert_eq!(serde_json::from_str::<Cap>(&json).unwrap(), cap, "{json}");
            assert_eq!(cap.to_string().parse(), Ok(cap));
        }
        assert_eq!(
            serde_json::from_str::<PlacementSettings>(r#"{"kind":"table","cap":1}"#).unwrap(),
            table(65_536, "1")
        );
    }

    #[test]
    fn json_refuses_what_is_unknown_or_out_of_range() {
        for (json, expected) in [
            (r#"{"kind":"ring","vnode":1}"#, "vnode"),
            (r#"{"kind":"table","slots":65535}"#, "`slots` is 65535; it must be a power of two"),
            (r#"{"kind":"table","slots":0}"#, "`slots` is 0; it must be a power of two"),
            (r#"{"kind":"table","cap":1.0205}"#, "`cap` is 1.0205; it must be 1 to 2"),
            (r#"{"kind":"table","cap":1e300}"#, "it must be 1 to 2"),
            (r#"{"kind":"table","cap":-1.5}"#, "it must be 1 to 2"),
        ] {
            let refused = serde_json::from_str::<PlacementSettings>(json).unwrap_err().to_string();
            assert!(refused.contains(expected), "{json}: {refused}");
        }
    }

    #[test]
    fn people_read_and_write_the_same_text() {
        for (text, settings) in [
            ("ring", PlacementSettings::default()),
            ("ring vnodes=256", PlacementSettings::Ring { vnodes: 256 }),
            ("table", table(65_536, "1.02")),
            ("table slots=262144", table(262_144, "1.02")),
            ("table cap=1.05", table(65_536, "1.05")),
            ("table slots=262144 cap=1.005", table(262_144, "1.005")),
            ("nginx", PlacementSettings::Nginx),
            ("haproxy", PlacementSettings::Haproxy(Haproxy::default())),
            ("haproxy hash=sdbm", haproxy(HaproxyHash::Sdbm, false)),
            ("haproxy hash=crc32", haproxy(HaproxyHash::Crc32, false)),
            ("haproxy hash=crc32 avalanche=true", haproxy(HaproxyHash::Crc32, true)),
            ("haproxy hash=source", haproxy(HaproxyHash::Source, true)),
            (
                "haproxy-3.0 hash-key=addr-port",
                PlacementSettings::Haproxy30(Haproxy { hash_key: HashKey::AddrPort, ..Haproxy::default() }),
            ),
            ("envoy-maglev table-size=503", PlacementSettings::EnvoyMaglev(EnvoyMaglev { table_size: 503 })),
            ("twemproxy hash=fnv1_32", PlacementSettings::Twemproxy(Twemproxy { hash: TwemproxyHash::Fnv132 })),
        ] {
            assert_eq!(text.parse(), Ok(settings), "{text}");
            assert_eq!(settings.to_string(), text);
            assert_eq!(settings.in_full().parse(), Ok(settings), "{text}");
        }
    }

    #[test]
    fn every_kind_reads_back_from_its_name_and_from_json() {
        for settings in PlacementSettings::of_kinds() {
            assert_eq!(settings.kind().parse(), Ok(settings));
            assert_eq!(settings.to_string(), settings.kind());
            assert_eq!(settings.in_full().parse(), Ok(settings));
            let json = serde_json::to_string(&settings).unwrap();
            assert!(json.starts_with(&format!(r#"{{"kind":"{}""#, settings.kind())), "{json}");
            assert_eq!(serde_json::from_str::<PlacementSettings>(&json).unwrap(), settings);
            let short = format!(r#"{{"kind":"{}"}}"#, settings.kind());
            assert_eq!(serde_json::from_str::<PlacementSettings>(&short).unwrap(), settings);
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        for (text, answer) in [
            ("rign", "unknown placement `rign`; did you mean `ring`?"),
            ("tabel", "unknown placement `tabel`; did you mean `table`?"),
            ("Ngnix", "unknown placement `Ngnix`; did you mean `nginx`?"),
            (
                "jump",
                "unknown placement `jump`; use one of ring, table, nginx, nginx-modulo, ingress-nginx, haproxy, \
                 haproxy-3.0, haproxy-map, envoy-ring-hash, envoy-maglev, ketama, twemproxy",
            ),
            ("nginx vnodes=4", "`nginx` has no setting `vnodes`, nor any other"),
            ("haproxy hash=md5", "`hash` is md5; it must be one of `crc32`, `djb2`, `none`, `sdbm`, `source`, `wt6`"),
            ("haproxy avalanche=1", "`avalanche` is 1; it must be `true` or `false`"),
            (
                "haproxy hash-keys=id",
                "`haproxy` has no setting `hash-keys`; it has `hash` and `avalanche` and `hash-key`",
            ),
            ("envoy-maglev table-size=many", "`table-size` is many; it must be a whole number"),
            ("ring vnodes=0", "`vnodes` is 0; it must be 1 to 65536"),
            ("ring slots=4", "`ring` has no setting `slots`; it has `vnodes`"),
            ("table 4", "`table` has no setting `4`; it has `slots` and `cap`"),
            ("table slots=60000", "`slots` is 60000; it must be a power of two from 256 to 4194304, such as 65536"),
            ("table slots=1", "`slots` is 1; it must be a power of two from 256 to 4194304, such as 256"),
            (
                "table slots=8388608",
                "`slots` is 8388608; it must be a power of two from 256 to 4194304, such as 4194304",
            ),
            ("table slots=x", "`slots` is x; it must be a power of two from 256 to 4194304, such as 65536"),
            ("table cap=0.999", "`cap` is 0.999; it must be 1 to 2, with at most three digits after the point"),
            ("table cap=2.001", "`cap` is 2.001; it must be 1 to 2, with at most three digits after the point"),
        ] {
            assert_eq!(text.parse::<PlacementSettings>(), Err(answer.to_owned()), "{text}");
        }
    }

    #[test]
    fn the_ranges_of_all_slots_cover_every_position_once() {
        let slots = Slots::try_from(256).unwrap();
        let mut next = 0;
        for slot in slots.all() {
            let range = slots.range(slot);
            assert_eq!((*range.start(), slots.of(*range.start()), slots.of(*range.end())), (next, slot, slot));
            next = range.end().wrapping_add(1);
        }
        assert_eq!(next, 0);
    }
}
