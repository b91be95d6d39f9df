//! The terms of a selection: names, numbers, ranges, frequencies, times, lengths.

use super::error::MsError;
use super::measurement_set::{MeasurementSet, Metadata};
use super::select::Names;
use crate::calendar::{MJD_OF_1970, civil_from_days, days_from_civil};
use crate::units::{C_M_S, Frequency, split_quantity};

type Read<T> = Result<T, MsError>;

fn syntax(what: &'static str, given: &str, problem: impl Into<String>) -> MsError {
    MsError::Syntax { what, given: given.to_string(), problem: problem.into() }
}

fn unknown<'a>(what: &'static str, given: &str, names: impl IntoIterator<Item = &'a str>, existing: String) -> MsError {
    let nearest = crate::options::nearest(given, names).map(str::to_string);
    MsError::Unknown { what, given: given.to_string(), nearest, existing }
}

/// `*` matches any text, including none.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = pattern.contains('*').then(|| pattern.rsplit('*').next().unwrap_or_default()) else { return rest.is_empty() };
    let middle: Vec<&str> = parts.collect();
    for part in &middle[..middle.len().saturating_sub(1)] {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

/// Inclusive ranges of integers.
#[derive(Debug, Clone)]
pub struct Numbers(Vec<(i64, i64)>);

impl Numbers {
    /// True if the number is in one of the ranges.
    pub fn contains(&self, n: i64) -> bool {
        self.0.iter().any(|(a, b)| (*a..=*b).contains(&n))
    }
}

/// `3`, `5~8`, `>4`, `<10`.
fn range(term: &str) -> Option<(i64, i64)> {
    let number = |t: &str| t.trim().parse::<i64>().ok();
    if let Some(above) = term.strip_prefix('>') {
        return Some((number(above)? + 1, i64::MAX));
    }
    if let Some(below) = term.strip_prefix('<') {
        return Some((i64::MIN, number(below)? - 1));
    }
    match term.split_once('~') {
        Some((a, b)) => Some((number(a)?, number(b)?)),
        None => number(term).map(|n| (n, n)),
    }
}

/// Numbers and ranges of numbers.
pub fn numbers(what: &'static str, names: &Names) -> Read<Numbers> {
    let ranges = names.0.iter().map(|t| range(t).ok_or_else(|| syntax(what, t, "expected numbers or ranges such as 3,5~8")));
    ranges.collect::<Read<Vec<_>>>().map(Numbers)
}

/// Block numbers, refused where there is no such block.
pub fn blocks(data: &Metadata, names: &Names, n_blocks: usize) -> Read<Numbers> {
    let wanted = numbers("block", names)?;
    if let Some((a, b)) = wanted.0.iter().find(|(a, b)| *a < 0 || *a >= n_blocks as i64 || (*b >= n_blocks as i64 && *b != i64::MAX)) {
        let given = if a == b { a.to_string() } else { format!("{a}~{b}") };
        let existing = if n_blocks == 1 { format!("one block, {}#0", data.name) } else { format!("blocks 0 to {}", n_blocks - 1) };
        return Err(MsError::Unknown { what: "block", given, nearest: None, existing });
    }
    Ok(wanted)
}

/// Which fields are meant, by id.
pub fn fields(data: &Metadata, names: &Names) -> Read<Vec<bool>> {
    let mut wanted = vec![names.is_all(); data.fields.len()];
    for term in &names.0 {
        // A name wins over a number: some fields are called "3".
        let mut any = false;
        for (i, field) in data.fields.iter().enumerate() {
            if matches(term, field.name.trim()) || *term == field.name {
                (wanted[i], any) = (true, true);
            }
        }
        if let (false, Some((a, b))) = (any, range(term)) {
            for i in (0..data.fields.len() as i64).filter(|i| (a..=b).contains(i)) {
                (wanted[i as usize], any) = (true, true);
            }
        }
        if !any {
            return Err(unknown("field", term, data.fields.iter().map(|f| f.name.as_str()), list_fields(data)));
        }
    }
    Ok(wanted)
}

/// The spectral windows that a term means, each with its channels.
pub fn spw(data: &Metadata, term: &str) -> Read<Vec<(usize, Vec<usize>)>> {
    // Names of windows contain '#' and '-' but no ':'.
    let (window, channels) = term.split_once(':').map_or((term, None), |(w, c)| (w, Some(c)));
    let found = spw_ids(data, window.trim())?;
    found.into_iter().map(|i| Ok((i, channels_of(data, i, term, channels)?))).collect()
}

fn spw_ids(data: &Metadata, term: &str) -> Read<Vec<usize>> {
    let n = data.spws.len();
    if term.is_empty() || term == "*" {
        return Ok((0..n).collect());
    }
    let by_name: Vec<usize> = (0..n).filter(|i| !data.spws[*i].name.is_empty() && matches(term, data.spws[*i].name.trim())).collect();
    if !by_name.is_empty() {
        return Ok(by_name);
    }
    if let Some((a, b)) = range(term) {
        let ids: Vec<usize> = (0..n).filter(|i| (a..=b).contains(&(*i as i64))).collect();
        return if ids.is_empty() { Err(unknown_spw(data, term)) } else { Ok(ids) };
    }
    let Some((low, high)) = frequencies(term) else { return Err(unknown_spw(data, term)) };
    let ids: Vec<usize> = (0..n)
        .filter(|i| {
            let (a, b) = data.spws[*i].range_hz();
            a <= high && low <= b
        })
        .collect();
    if ids.is_empty() { Err(unknown_spw(data, term)) } else { Ok(ids) }
}

fn unknown_spw(data: &Metadata, term: &str) -> MsError {
    unknown("spw", term, data.spws.iter().map(|s| s.name.as_str()).filter(|n| !n.is_empty()), list_spws(data))
}

/// `217.1GHz` or `217~218GHz`, in Hz.
fn frequencies(term: &str) -> Option<(f64, f64)> {
    let Some((a, b)) = term.split_once('~') else {
        let f = Frequency::parse(term).ok()?.0;
        return Some((f, f));
    };
    let high = Frequency::parse(b).ok()?.0;
    let (number, unit) = split_quantity(a)?;
    let unit = if unit.is_empty() { split_quantity(b)?.1 } else { unit };
    Some((Frequency::parse(&format!("{number:e}{unit}")).ok()?.0, high))
}

fn channels_of(data: &Metadata, i_spw: usize, term: &str, channels: Option<&str>) -> Read<Vec<usize>> {
    let spw = &data.spws[i_spw];
    let n = spw.freq_hz.len();
    let Some(channels) = channels else { return Ok((0..n).collect()) };
    let mut kept = Vec::new();
    for part in channels.split(';').map(str::trim).filter(|p| !p.is_empty()) {
        let before = kept.len();
        if let Some((a, b)) = range(part) {
            kept.extend((0..n).filter(|c| (a..=b).contains(&(*c as i64))));
        } else if let Some((low, high)) = frequencies(part) {
            kept.extend((0..n).filter(|c| {
                let half = spw.width_hz[*c].abs() / 2.0;
                spw.freq_hz[*c] - half <= high && low <= spw.freq_hz[*c] + half
            }));
        } else {
            return Err(syntax("spw", term, format!("\"{part}\" is neither channels (5~60) nor frequencies (217.1~217.3GHz)")));
        }
        if kept.len() == before {
            let (low, high) = spw.range_hz();
            let problem = format!("spw {i_spw} has channels 0 to {}, {:.6} to {:.6} GHz", n.saturating_sub(1), low / 1e9, high / 1e9);
            return Err(syntax("spw", term, problem));
        }
    }
    Ok(kept)
}

/// Which state ids have one of the intents.
pub fn intents(data: &Metadata, names: &Names) -> Read<Vec<bool>> {
    let mut wanted = vec![false; data.states.len()];
    for term in &names.0 {
        let mut any = false;
        for (i, state) in data.states.iter().enumerate() {
            if matches(term, state) || state.split(',').any(|one| matches(term, one.trim())) {
                (wanted[i], any) = (true, true);
            }
        }
        if !any {
            return Err(unknown("intent", term, data.states.iter().map(String::as_str), data.states.join(" | ")));
        }
    }
    Ok(wanted)
}

/// Which baselines are meant.
#[derive(Debug, Clone)]
pub struct Antennas {
    wanted: Vec<(u16, Option<u16>)>,
    unwanted: Vec<u16>,
}

impl Antennas {
    /// True if every baseline is meant.
    pub fn is_all(&self) -> bool {
        self.wanted.is_empty() && self.unwanted.is_empty()
    }
    /// True if the baseline between two antennas is meant.
    pub fn contains(&self, a: u16, b: u16) -> bool {
        let hit = |(x, y): &(u16, Option<u16>)| match y {
            None => *x == a || *x == b,
            Some(y) => (*x, *y) == (a, b) || (*x, *y) == (b, a),
        };
        !self.unwanted.contains(&a) && !self.unwanted.contains(&b) && (self.wanted.is_empty() || self.wanted.iter().any(hit))
    }
}

/// `DA41`, `DA41&DV02`, `!DA41`.
pub fn antennas(ms: &MeasurementSet, names: &Names) -> Read<Antennas> {
    let mut found = Antennas { wanted: Vec::new(), unwanted: Vec::new() };
    for term in &names.0 {
        if let Some(not) = term.strip_prefix('!') {
            found.unwanted.extend(antenna_ids(ms, not)?);
        } else if let Some((a, b)) = term.split_once('&') {
            for x in antenna_ids(ms, a)? {
                found.wanted.extend(antenna_ids(ms, b)?.into_iter().map(|y| (x, Some(y))));
            }
        } else {
            found.wanted.extend(antenna_ids(ms, term)?.into_iter().map(|x| (x, None)));
        }
    }
    Ok(found)
}

fn antenna_ids(ms: &MeasurementSet, term: &str) -> Read<Vec<u16>> {
    let term = term.trim();
    let names = || ms.antennas.iter().map(|a| a.name.as_str());
    let by_name: Vec<u16> = names().enumerate().filter(|(_, n)| matches(term, n)).map(|(i, _)| i as u16).collect();
    if !by_name.is_empty() {
        return Ok(by_name);
    }
    let by_id =
        range(term).map(|(a, b)| (0..ms.antennas.len() as i64).filter(|i| (a..=b).contains(i)).map(|i| i as u16).collect::<Vec<_>>());
    match by_id.filter(|ids| !ids.is_empty()) {
        Some(ids) => Ok(ids),
        None => Err(unknown("antenna", term, names(), names().collect::<Vec<_>>().join(", "))),
    }
}

/// A range of lengths of baselines.
#[derive(Debug, Clone, Copy)]
pub struct Lengths {
    low: f64,
    high: f64,
    in_lambda: bool,
}

impl Lengths {
    /// True if a length in metres is in the range at this frequency.
    pub fn contains(&self, metres: f64, freq_hz: f64) -> bool {
        let length = if self.in_lambda { metres * freq_hz / C_M_S } else { metres };
        (self.low..=self.high).contains(&length)
    }
}

/// `0~500klambda`, `>100m`, `<1Mlambda`.
pub fn uvrange(names: &Names) -> Read<Vec<Lengths>> {
    names
        .0
        .iter()
        .map(|t| lengths(t).ok_or_else(|| syntax("uvrange", t, "expected for example 0~500klambda, >100m or <1Mlambda")))
        .collect()
}

fn lengths(term: &str) -> Option<Lengths> {
    let scale = |unit: &str| match unit {
        "lambda" => Some((1.0, true)),
        "klambda" => Some((1e3, true)),
        "Mlambda" => Some((1e6, true)),
        "m" | "" => Some((1.0, false)),
        "km" => Some((1e3, false)),
        _ => None,
    };
    let one = |text: &str| {
        let (number, unit) = split_quantity(text)?;
        scale(unit).map(|(factor, in_lambda)| (number * factor, in_lambda, number))
    };
    if let Some(above) = term.strip_prefix('>') {
        return one(above).map(|(low, in_lambda, _)| Lengths { low, high: f64::INFINITY, in_lambda });
    }
    if let Some(below) = term.strip_prefix('<') {
        return one(below).map(|(high, in_lambda, _)| Lengths { low: 0.0, high, in_lambda });
    }
    let (a, b) = term.split_once('~')?;
    let (high, in_lambda, _) = one(b)?;
    let (number, unit) = split_quantity(a)?;
    let factor = if unit.is_empty() { scale(split_quantity(b)?.1)? } else { scale(unit)? };
    (factor.1 == in_lambda).then_some(Lengths { low: number * factor.0, high, in_lambda })
}

/// A range of times, MJD seconds.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    low: f64,
    high: f64,
}

impl Times {
    /// True if the time is in the range.
    pub fn contains(&self, time_s: f64) -> bool {
        (self.low..=self.high).contains(&time_s)
    }
}

/// `start~end`, `>start`, `<end`; times as 2012/06/03/03:20:00 or 2012-06-03T03:20:00.
pub fn times(names: &Names) -> Read<Vec<Times>> {
    let expected = "expected for example 2012/06/03/03:20:00~2012/06/03/04:00:00";
    names.0.iter().map(|t| time_range(t).ok_or_else(|| syntax("time", t, expected))).collect()
}

fn time_range(term: &str) -> Option<Times> {
    if let Some(above) = term.strip_prefix('>') {
        return Some(Times { low: time(above, None)?, high: f64::INFINITY });
    }
    if let Some(below) = term.strip_prefix('<') {
        return Some(Times { low: f64::NEG_INFINITY, high: time(below, None)? });
    }
    let (a, b) = term.split_once('~')?;
    let low = time(a, None)?;
    Some(Times { low, high: time(b, Some(low))? })
}

/// MJD seconds of a written time; a time of day alone is on the day of `same_day_s`.
fn time(text: &str, same_day_s: Option<f64>) -> Option<f64> {
    let text = text.trim().replace(['-', 'T'], "/");
    let (date, clock) = match text.rsplit_once('/') {
        Some((date, clock)) if clock.contains(':') => (Some(date), clock),
        Some(_) => (Some(text.as_str()), "00:00:00"),
        None => (None, text.as_str()),
    };
    let day = match date {
        Some(date) => {
            let n: Vec<i64> = date.split('/').map(|p| p.parse().ok()).collect::<Option<_>>()?;
            let [year, month, day] = n[..] else { return None };
            mjd(year, month, day)?
        }
        None => (same_day_s? / 86_400.0).floor(),
    };
    let clock: Vec<f64> = clock.split(':').map(|p| p.parse().ok()).collect::<Option<_>>()?;
    let (h, m, s) = (clock.first()?, clock.get(1).unwrap_or(&0.0), clock.get(2).unwrap_or(&0.0));
    Some(day * 86_400.0 + h * 3600.0 + m * 60.0 + s)
}

/// Modified Julian day of a date.
pub fn mjd(year: i64, month: i64, day: i64) -> Option<f64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some((days_from_civil(year, month, day) + MJD_OF_1970) as f64)
}

/// `2012/06/03/03:20:00.0` of MJD seconds.
pub fn show_time(time_s: f64) -> String {
    let tenths = (time_s * 10.0).round() as i64;
    let (day, tenths) = (tenths.div_euclid(864_000), tenths.rem_euclid(864_000));
    let (year, month, d) = civil_from_days(day - MJD_OF_1970);
    let s = tenths / 10;
    format!("{year:04}/{month:02}/{d:02}/{:02}:{:02}:{:02}.{}", s / 3600, s / 60 % 60, s % 60, tenths % 10)
}

/// Error for a correlation that the set does not have.
pub fn unknown_corr(data: &Metadata, term: &str) -> MsError {
    MsError::Unknown { what: "corr", given: term.to_string(), nearest: None, existing: list_corrs(data) }
}

/// The first of many, for hints.
fn shorten(items: Vec<String>) -> String {
    const SHOWN: usize = 12;
    let more = items.len().saturating_sub(SHOWN);
    let shown = items.into_iter().take(SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// The fields of a set.
pub fn list_fields(data: &Metadata) -> String {
    shorten(data.fields.iter().enumerate().map(|(i, f)| format!("{i} {}", f.name)).collect())
}

/// The spectral windows of a set.
pub fn list_spws(data: &Metadata) -> String {
    let show = |(i, s): (usize, &super::measurement_set::Spw)| {
        let (low, high) = s.range_hz();
        let name = if s.name.is_empty() { String::new() } else { format!(" {}", s.name) };
        format!("{i}{name} ({} channels, {:.6}~{:.6}GHz)", s.freq_hz.len(), low / 1e9, high / 1e9)
    };
    shorten(data.spws.iter().enumerate().map(show).collect())
}

/// The correlations of a set.
pub fn list_corrs(data: &Metadata) -> String {
    let mut all: Vec<_> = data.polarizations.iter().flat_map(|p| p.iter().copied()).collect();
    all.sort();
    all.dedup();
    all.iter().map(|c| c.name()).collect::<Vec<_>>().join(", ")
}

/// The scans of a set.
pub fn list_scans(data: &Metadata) -> String {
    let mut all: Vec<i32> = data.rows.scan.values().to_vec();
    all.sort_unstable();
    all.dedup();
    format!("scans {}", shorten(all.iter().map(i32::to_string).collect()))
}

/// The observation ids of a set.
pub fn list_observations(data: &Metadata) -> String {
    let mut all: Vec<i32> = data.rows.observation.values().to_vec();
    all.sort_unstable();
    all.dedup();
    format!("observations {}", shorten(all.iter().map(i32::to_string).collect()))
}

/// The time range of a set.
pub fn list_times(data: &Metadata) -> String {
    let times = data.rows.time_s.values();
    let (low, high) = times.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), t| (a.min(*t), b.max(*t)));
    format!("times {}~{}", show_time(low), show_time(high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_match_any_text() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("M51", "M51", true),
            ("M5", "M51", false),
            ("M*1", "M51", true),
            ("*TARGET*", "OBSERVE_TARGET#ON_SOURCE", true),
            ("*A*B", "AAB", true),
            ("AB*BA", "ABA", false),
            ("*TARGET", "OBSERVE_TARGET#ON_SOURCE", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    /// MJD 56081 is 2012 June 3 (the first night of HD 142527); 0 is 1858 November 17.
    #[test]
    fn times_are_read_and_shown() {
        assert_eq!(mjd(2012, 6, 3), Some(56081.0));
        assert_eq!(mjd(1858, 11, 17), Some(0.0));
        assert_eq!(show_time(56081.0 * 86_400.0 + 12_000.04), "2012/06/03/03:20:00.0");
        let t = time_range("2012/06/03/03:20:00~04:00:00.5").unwrap();
        assert_eq!((t.low, t.high), (56081.0 * 86_400.0 + 12_000.0, 56081.0 * 86_400.0 + 14_400.5));
        assert!(time_range(">2012-06-03T03:20").is_some());
        assert!(time_range("yesterday~today").is_none());
    }

    #[test]
    fn lengths_are_in_metres_or_wavelengths() {
        assert!(lengths("0~500klambda").unwrap().contains(499.0, C_M_S * 1e3));
        assert!(!lengths("0~500klambda").unwrap().contains(501.0, C_M_S * 1e3));
        assert!(lengths(">100m").unwrap().contains(101.0, 1.0));
        assert!(lengths("3~4parsec").is_none());
    }
}
