//! Quantities with units, as scripts write them: `"0.05arcsec"`, `"230.538GHz"`, `"30s"`, `"2.5km/s"`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Speed of light in vacuum, m/s (exact).
pub const C_M_S: f64 = 299_792_458.0;
/// One arcsecond in radians.
pub const ARCSEC: f64 = std::f64::consts::PI / 648_000.0;
/// One milliarcsecond in radians.
pub const MAS: f64 = ARCSEC / 1e3;
/// Heliocentric gravitational constant over one astronomical unit, (km/s)²: the square of the circular speed at 1 au from 1 Msun
/// (nominal solar mass parameter of IAU 2015 resolution B3, astronomical unit of IAU 2012 resolution B2).
pub const GM_SUN_PER_AU: f64 = 1.327_124_4e20 / 1.495_978_707e11 / 1e6;

/// Splits `"0.05 arcsec"` into its number and its unit.
pub fn split_quantity(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let bytes = text.as_bytes();
    let mut end = 0;
    while end < bytes.len() {
        let c = bytes[end];
        let exponent_sign = (c == b'+' || c == b'-') && end > 0 && matches!(bytes[end - 1], b'e' | b'E');
        let exponent =
            matches!(c, b'e' | b'E') && end > 0 && bytes.get(end + 1).is_some_and(|n| n.is_ascii_digit() || *n == b'-' || *n == b'+');
        if c.is_ascii_digit() || c == b'.' || (end == 0 && (c == b'-' || c == b'+')) || exponent_sign || exponent {
            end += 1;
        } else {
            break;
        }
    }
    let number: f64 = text[..end].parse().ok()?;
    number.is_finite().then_some((number, text[end..].trim()))
}

macro_rules! quantity {
    ($(#[$meta:meta])* $Name:ident, $what:literal, $base:literal, $show:literal, [$first:literal => $first_factor:expr $(, $unit:literal => $factor:expr)* $(,)?]) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
        pub struct $Name(pub f64);

        impl $Name {
            /// Reads a number with its unit; the error says which units are known.
            pub fn parse(text: &str) -> Result<$Name, String> {
                let expected = concat!($what, " with its unit (", $first, $(" ", $unit,)* "), for example \"1", $show, "\"");
                let (number, unit) = split_quantity(text).ok_or_else(|| format!("\"{text}\" is not {expected}"))?;
                match unit {
                    $first => Ok($Name(number * $first_factor)),
                    $($unit => Ok($Name(number * $factor)),)*
                    "" => Err(format!("\"{text}\" has no unit: expected {expected}")),
                    other => Err(format!("\"{text}\": unit \"{other}\" is unknown: expected {expected}")),
                }
            }
        }

        impl std::fmt::Display for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let factor: f64 = $Name::parse(concat!("1", $show)).map_or(1.0, |q| q.0);
                // Twelve digits: enough for any quantity of the field, short enough to hide the last bit of a conversion.
                let number: f64 = format!("{:.11e}", self.0 / factor).parse().unwrap_or(self.0 / factor);
                write!(f, concat!("{}", $show), number)
            }
        }

        impl Serialize for $Name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $Name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<$Name, D::Error> {
                match serde_json::Value::deserialize(d)? {
                    serde_json::Value::String(text) => $Name::parse(&text).map_err(serde::de::Error::custom),
                    other => Err(serde::de::Error::custom(format!(concat!("{} has no unit: write ", $what, " as a string, for example \"{}", $show, "\""), other, other))),
                }
            }
        }
    };
}

quantity!(
    /// An angle, in radians.
    Angle, "an angle", "rad", "arcsec",
    ["arcsec" => ARCSEC, "mas" => MAS, "uas" => ARCSEC / 1e6, "arcmin" => ARCSEC * 60.0, "deg" => ARCSEC * 3600.0, "rad" => 1.0, "as" => ARCSEC]
);
quantity!(
    /// A frequency, in Hz.
    Frequency, "a frequency", "Hz", "GHz",
    ["Hz" => 1.0, "kHz" => 1e3, "MHz" => 1e6, "GHz" => 1e9]
);
quantity!(
    /// A duration, in seconds.
    Duration, "a duration", "s", "s",
    ["s" => 1.0, "min" => 60.0, "h" => 3600.0, "d" => 86400.0, "ms" => 1e-3]
);
quantity!(
    /// A velocity, in km/s.
    Velocity, "a velocity", "km/s", "km/s",
    ["km/s" => 1.0, "m/s" => 1e-3]
);
quantity!(
    /// A flux density, in Jy.
    Flux, "a flux density", "Jy", "Jy",
    ["Jy" => 1.0, "mJy" => 1e-3, "uJy" => 1e-6, "µJy" => 1e-6]
);

/// A list as scripts and command lines write it: one value, an array, or a text with commas; nothing is an empty list.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct List<T>(pub Vec<T>);

impl<T> std::ops::Deref for List<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Serialize> Serialize for List<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(s)
    }
}

impl<'de, T: serde::de::DeserializeOwned> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<List<T>, D::Error> {
        use serde_json::Value;
        fn terms(value: Value) -> Vec<Value> {
            match value {
                Value::Null => vec![],
                Value::Array(items) => items.into_iter().flat_map(terms).collect(),
                Value::String(text) => text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(Value::from).collect(),
                other => vec![other],
            }
        }
        // "5" is a number where numbers are listed, and a text where texts or quantities are.
        let one = |value: Value| {
            let number = value.as_str().and_then(|t| serde_json::from_str::<serde_json::Number>(t).ok());
            match (serde_json::from_value(value), number) {
                (Ok(item), _) => Ok(item),
                (Err(e), Some(n)) => serde_json::from_value(Value::Number(n)).map_err(|_| e),
                (Err(e), None) => Err(e),
            }
        };
        let items: Result<Vec<T>, serde_json::Error> = terms(Value::deserialize(d)?).into_iter().map(one).collect();
        items.map(List).map_err(serde::de::Error::custom)
    }
}

impl Angle {
    /// The angle in arcseconds.
    pub fn arcsec(self) -> f64 {
        self.0 / ARCSEC
    }
    /// An angle given in arcseconds.
    pub fn from_arcsec(arcsec: f64) -> Angle {
        Angle(arcsec * ARCSEC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_survive_writing_and_reading() {
        for text in ["0.05arcsec", "1.5e-3arcsec", "-12arcsec"] {
            assert_eq!(
                Angle::parse(text).unwrap().to_string(),
                Angle::parse(&Angle::parse(text).unwrap().to_string()).unwrap().to_string()
            );
        }
        assert_eq!(Angle::parse("0.05arcsec").unwrap().to_string(), "0.05arcsec");
        assert_eq!(Frequency::parse("230.538GHz").unwrap().0, 230.538e9);
        assert_eq!(Velocity::parse("500 m/s").unwrap().0, 0.5);
    }

    #[test]
    fn lists_are_read_as_they_are_written() {
        let numbers = |v: serde_json::Value| serde_json::from_value::<List<f64>>(v).unwrap().0;
        assert_eq!(numbers(serde_json::json!("0, 5,15.5")), [0.0, 5.0, 15.5]);
        assert_eq!(numbers(serde_json::json!(["0", 5])), [0.0, 5.0]);
        assert_eq!(numbers(serde_json::json!(3)), [3.0]);
        assert!(numbers(serde_json::json!("")).is_empty());
        let angles: List<Angle> = serde_json::from_value(serde_json::json!("1arcsec,0.5arcsec,20deg")).unwrap();
        assert_eq!(angles.len(), 3);
        assert!(serde_json::from_value::<List<Angle>>(serde_json::json!([1.0])).is_err());
    }

    #[test]
    fn a_missing_or_unknown_unit_is_an_error_that_names_the_known_ones() {
        assert!(Angle::parse("0.05").unwrap_err().contains("arcsec"));
        assert!(Angle::parse("0.05GHz").unwrap_err().contains("GHz"));
        assert!(Angle::parse("NaNarcsec").is_err());
    }
}
