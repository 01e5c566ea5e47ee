//! Which placement a pool uses: a closed set of kinds, with their settings and how people write them.

use crate::section::nearest;
use serde::Deserialize;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// Which placement a pool uses, with its settings; in JSON `{"kind":"ring","vnodes":512}`, for people `ring`
/// or `ring vnodes=256`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum PlacementSettings {
    /// The vnode ring with the closest-point rule.
    Ring {
        /// Points per unit of weight, 1 to [`VNODES_MAX`].
        #[serde(default = "vnodes_default")]
        vnodes: u32,
    },
}

impl Default for PlacementSettings {
    fn default() -> PlacementSettings {
        PlacementSettings::Ring { vnodes: VNODES_DEFAULT }
    }
}

impl fmt::Display for PlacementSettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlacementSettings::Ring { vnodes: VNODES_DEFAULT } => write!(out, "ring"),
            PlacementSettings::Ring { vnodes } => write!(out, "ring vnodes={vnodes}"),
        }
    }
}

/// Reads what [`fmt::Display`] writes. The error is a sentence for the user.
impl FromStr for PlacementSettings {
    type Err = String;

    fn from_str(text: &str) -> Result<PlacementSettings, String> {
        let (kind, settings) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if kind == "ring" {
            let vnodes = ring_vnodes(settings.trim_start())?;
            return Ok(PlacementSettings::Ring { vnodes });
        }
        if KINDS_PLANNED.contains(&kind) {
            return Err(format!("placement `{kind}` is not available yet; use `ring`"));
        }
        let known = KINDS_PLANNED.iter().copied().chain(["ring"]);
        Err(match nearest(kind, known) {
            Some(name) => format!("unknown placement `{kind}`; did you mean `{name}`?"),
            None => format!("unknown placement `{kind}`; use `ring`"),
        })
    }
}

fn ring_vnodes(settings: &str) -> Result<u32, String> {
    if settings.is_empty() {
        return Ok(VNODES_DEFAULT);
    }
    let vnodes = settings.strip_prefix("vnodes=").and_then(|number| number.parse().ok());
    match vnodes {
        Some(vnodes) if (1..=VNODES_MAX).contains(&vnodes) => Ok(vnodes),
        _ => Err(format!("`ring` takes `vnodes=1` to `vnodes={VNODES_MAX}`, not `{settings}`")),
    }
}

fn vnodes_default() -> u32 {
    VNODES_DEFAULT
}

/// Points per unit of weight where nothing else is said: the busiest of 100 equal nodes gets 1.08 times the
/// average.
pub const VNODES_DEFAULT: u32 = 512;

/// The most points per unit of weight.
pub const VNODES_MAX: u32 = 65_536;

/// Kinds that have a name already and are refused as not available.
const KINDS_PLANNED: [&str; 10] = [
    "envoy-maglev",
    "envoy-ring-hash",
    "haproxy",
    "haproxy-3.0",
    "haproxy-map",
    "ingress-nginx",
    "ketama",
    "nginx",
    "nginx-modulo",
    "table",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_may_leave_out_vnodes() {
        let settings: PlacementSettings = serde_json::from_str(r#"{"kind":"ring"}"#).unwrap();
        assert_eq!(settings, PlacementSettings::default());
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(text, r#"{"kind":"ring","vnodes":512}"#);
    }

    #[test]
    fn json_refuses_unknown_settings() {
        let refused = serde_json::from_str::<PlacementSettings>(r#"{"kind":"ring","vnode":1}"#);
        assert!(refused.unwrap_err().to_string().contains("vnode"));
    }

    #[test]
    fn people_read_and_write_the_same_text() {
        for (text, vnodes) in [("ring", 512), ("ring vnodes=256", 256)] {
            let settings: PlacementSettings = text.parse().unwrap();
            assert_eq!(settings, PlacementSettings::Ring { vnodes }, "{text}");
            assert_eq!(settings.to_string(), text);
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        for (text, answer) in [
            ("table", "placement `table` is not available yet; use `ring`"),
            ("haproxy-3.0", "placement `haproxy-3.0` is not available yet; use `ring`"),
            ("rign", "unknown placement `rign`; did you mean `ring`?"),
            ("Ngnix", "unknown placement `Ngnix`; did you mean `nginx`?"),
            ("jump", "unknown placement `jump`; use `ring`"),
            ("", "unknown placement ``; use `ring`"),
            ("ring vnodes=0", "`ring` takes `vnodes=1` to `vnodes=65536`, not `vnodes=0`"),
            ("ring slots=4", "`ring` takes `vnodes=1` to `vnodes=65536`, not `slots=4`"),
        ] {
            assert_eq!(text.parse::<PlacementSettings>(), Err(answer.to_owned()), "{text}");
        }
    }
}
