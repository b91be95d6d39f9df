//! Where ticks go and what stands at them.

/// A place on an axis with what is written there (may be empty).
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// Value.
    pub at: f64,
    /// Label, with markup.
    pub label: String,
}

/// The ticks of an axis.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ticks {
    /// Long ticks with labels.
    pub major: Vec<Tick>,
    /// Short ticks.
    pub minor: Vec<f64>,
    /// Power of ten taken out of the labels, for the axis label.
    pub exponent: i32,
}

/// The minus sign of print.
pub const MINUS: &str = "\u{2212}";

/// A number with a fixed count of decimals and a real minus; zero has no sign.
pub fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(digits) if digits.bytes().all(|c| c == b'0' || c == b'.') => digits.to_string(),
        Some(digits) => format!("{MINUS}{digits}"),
        None => text,
    }
}

/// A number with `digits` significant digits, no zeros at the end, and powers of ten where decimals would be unreadable.
pub fn compact(value: f64, digits: usize) -> String {
    let text = significant(value, digits);
    let (number, power) = text.split_once('×').map_or((text.as_str(), None), |(n, p)| (n, Some(p)));
    let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    match power {
        None => number.to_string(),
        Some(power) if number == "1" => power.to_string(),
        Some(power) => format!("{number}×{power}"),
    }
}

/// A number with `digits` significant digits, and powers of ten where decimals would be unreadable.
pub fn significant(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return "n/a".into();
    }
    if value == 0.0 {
        return "0".into();
    }
    let rounded: f64 = format!("{:.*e}", digits.max(1) - 1, value).parse().unwrap_or(value);
    let exponent = rounded.abs().log10().floor() as i32;
    if (-4..6).contains(&exponent) {
        let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
        return fixed(rounded, decimals);
    }
    format!("{}×{}", significant(rounded / 10f64.powi(exponent), digits), power_of_ten(exponent))
}

/// 10 to a power, in markup.
pub fn power_of_ten(exponent: i32) -> String {
    format!("10^{{{}}}", fixed(f64::from(exponent), 0))
}

/// Step of 1, 2 or 5 times a power of ten that gives at most `most` intervals, and how many minor intervals it holds.
pub fn nice_step(span: f64, most: f64) -> (f64, usize) {
    let raw = span / most.max(1.0);
    let power = 10f64.powf(raw.log10().floor());
    let (factor, parts) = match raw / power {
        f if f <= 1.0 + 1e-9 => (1.0, 5),
        f if f <= 2.0 + 1e-9 => (2.0, 4),
        f if f <= 5.0 + 1e-9 => (5.0, 5),
        _ => (10.0, 5),
    };
    (factor * power, parts)
}

/// Multiples of `step` between two values.
fn multiples(lo: f64, hi: f64, step: f64) -> Vec<f64> {
    let slack = 1e-6;
    let (first, last) = ((lo / step - slack).ceil() as i64, (hi / step + slack).floor() as i64);
    (first..=last.min(first + 2000)).map(|i| i as f64 * step).collect()
}

/// Decimals that a step needs.
fn decimals(step: f64) -> usize {
    (-(step.log10() + 1e-9).floor()).clamp(0.0, 12.0) as usize
}

/// Ticks of a linear axis between `lo` and `hi` (either order), with at most `most` labelled intervals.
pub fn linear(lo: f64, hi: f64, most: f64) -> Ticks {
    let (lo, hi) = (lo.min(hi), lo.max(hi));
    if !(hi - lo).is_finite() || hi - lo <= f64::EPSILON * lo.abs().max(hi.abs()) {
        return Ticks::default();
    }
    let (step, parts) = nice_step(hi - lo, most);
    let exponent = common_exponent(lo.abs().max(hi.abs()), step);
    let unit = 10f64.powi(exponent);
    let decimals = decimals(step / unit);
    let major: Vec<Tick> = multiples(lo, hi, step).into_iter().map(|at| Tick { at, label: fixed(at / unit, decimals) }).collect();
    let fine = step / parts as f64;
    let is_major = |v: f64| ((v / step).round() * step - v).abs() < 0.25 * fine;
    let minor = multiples(lo, hi, fine).into_iter().filter(|v| !is_major(*v)).collect();
    Ticks { major, minor, exponent }
}

/// Power of ten, in threes, to take out of labels that would be longer than five digits.
fn common_exponent(largest: f64, step: f64) -> i32 {
    let threes = |v: f64| 3 * ((v.log10() + 1e-9) / 3.0).floor() as i32;
    if largest >= 1e5 && step >= 1e3 {
        threes(step.max(largest / 1e3))
    } else if largest < 1e-2 {
        threes(largest)
    } else {
        0
    }
}

/// Ticks of a logarithmic axis between two positive values (either order).
pub fn log(lo: f64, hi: f64, most: f64) -> Ticks {
    let (lo, hi) = (lo.min(hi), lo.max(hi));
    if !(lo > 0.0 && hi.is_finite() && hi > lo) {
        return Ticks::default();
    }
    let (first, last) = ((lo.log10() - 1e-9).ceil() as i32, (hi.log10() + 1e-9).floor() as i32);
    let decades = hi.log10() - lo.log10();
    if decades < 0.7 {
        return Ticks { exponent: 0, ..linear(lo, hi, most) };
    }
    let all: Vec<(i32, u8)> = (first - 1..=last).flat_map(|e| (1..10).map(move |m| (e, m))).collect();
    let value = |e: i32, m: u8| f64::from(m) * 10f64.powi(e);
    let inside = |v: f64| v >= lo * (1.0 - 1e-9) && v <= hi * (1.0 + 1e-9);
    // Labels at decades; at every n-th where they crowd, at 2 and 5 as well where they are few.
    let crowd = f64::from(last - first + 1) / most.max(1.0);
    let every = [1, 2, 3, 5, 10, 20, 50, 100].into_iter().find(|e| f64::from(*e) >= crowd).unwrap_or(200);
    let between: &[u8] = if decades <= 1.1 && most >= 4.0 {
        &[1, 2, 3, 5]
    } else if decades * 3.0 <= most {
        &[1, 2, 5]
    } else {
        &[1]
    };
    let labelled = |e: i32, m: u8| between.contains(&m) && e.rem_euclid(every) == 0;
    let pick = |want: bool| all.iter().filter(move |&&(e, m)| labelled(e, m) == want && inside(value(e, m)));
    let major = pick(true).map(|&(e, m)| Tick { at: value(e, m), label: log_label(e, m) }).collect();
    let minor = pick(false).filter(|&&(_, m)| every == 1 || (every <= 10 && m == 1)).map(|&(e, m)| value(e, m)).collect();
    Ticks { major, minor, exponent: 0 }
}

fn log_label(exponent: i32, mantissa: u8) -> String {
    match (exponent, mantissa) {
        (-2..=3, m) => compact(f64::from(m) * 10f64.powi(exponent), 3),
        (e, 1) => power_of_ten(e),
        (e, m) => format!("{m}×{}", power_of_ten(e)),
    }
}

/// Ticks of a stretched scale: round values, the roundest first, where `place` leaves them `room`.
pub fn stretched(lo: f64, hi: f64, place: &dyn Fn(f64) -> f64, room: f64) -> Ticks {
    let largest = lo.abs().max(hi.abs());
    if !(largest.is_finite() && largest > 0.0) {
        return Ticks::default();
    }
    let top = largest.log10().floor() as i32;
    let with_mantissa = |m: f64| (0..6).flat_map(move |down| [1.0, -1.0].map(|sign| sign * m * 10f64.powi(top - down)));
    let candidates = std::iter::once(0.0).chain([1.0, 5.0, 2.0, 3.0, 4.0, 7.0].into_iter().flat_map(with_mantissa));
    let mut kept: Vec<f64> = Vec::new();
    for v in candidates.filter(|v| *v >= lo && *v <= hi) {
        if kept.iter().all(|k| (place(*k) - place(v)).abs() >= room) {
            kept.push(v);
        }
    }
    kept.sort_by(f64::total_cmp);
    let exponent = common_exponent(largest, largest);
    let unit = 10f64.powi(exponent);
    let major = kept.iter().map(|v| Tick { at: *v, label: compact(v / unit, 3) }).collect();
    Ticks { major, minor: Vec::new(), exponent }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value that a label stands for.
    fn read(label: &str) -> f64 {
        let plain = label.replace(MINUS, "-");
        match plain.split_once("10^{") {
            Some((mantissa, exponent)) => {
                let m = mantissa.trim_end_matches('×');
                (if m.is_empty() { 1.0 } else { m.parse().unwrap() }) * 10f64.powi(exponent.trim_end_matches('}').parse().unwrap())
            }
            None => plain.parse().unwrap(),
        }
    }

    /// Ticks lie inside the range, keep to the count, and their labels give back their values.
    #[test]
    fn linear_ticks_are_where_their_labels_say() {
        for i in -12..12 {
            for (a, b) in [(0.0, 1.0), (-3.3, 7.9), (1.03, 1.17), (-0.02, 0.51), (99.0, 101.0), (250.0, -130.0)] {
                let unit = 10f64.powi(i);
                for most in [2.0, 5.0, 8.0] {
                    let ticks = linear(a * unit, b * unit, most);
                    let (lo, hi) = (a.min(b) * unit, a.max(b) * unit);
                    let slack = 1e-5 * (hi - lo);
                    assert!(!ticks.major.is_empty() || most < 3.0 && ticks.minor.len() > 2, "{lo} {hi} {most}");
                    assert!(ticks.major.len() as f64 <= most + 1.0);
                    for tick in &ticks.major {
                        assert!(tick.at >= lo - slack && tick.at <= hi + slack);
                        let value = read(&tick.label) * 10f64.powi(ticks.exponent);
                        assert!((value - tick.at).abs() <= slack, "{} at {} in {lo} to {hi}", tick.label, tick.at);
                    }
                    assert!(ticks.minor.iter().all(|v| ticks.major.iter().all(|t| t.at != *v)));
                }
            }
        }
    }

    #[test]
    fn labels_carry_no_needless_digits() {
        let labels = |lo, hi, most| linear(lo, hi, most).major.into_iter().map(|t| t.label).collect::<Vec<_>>();
        assert_eq!(labels(-200.0, 200.0, 4.0), ["−200", "−100", "0", "100", "200"]);
        assert_eq!(labels(-0.5, 0.5, 4.0), ["−0.5", "0.0", "0.5"]);
        assert_eq!(labels(0.0, 3e6, 3.0), ["0", "1", "2", "3"]);
        assert_eq!(linear(0.0, 3e6, 3.0).exponent, 6);
    }

    #[test]
    fn logarithmic_ticks_are_where_their_labels_say() {
        for (lo, hi) in [(1.0, 1e3), (2e-7, 3e4), (0.9, 12.0), (5.0, 70.0), (1e-30, 1e30), (30.0, 41.0)] {
            for most in [2.0, 5.0, 8.0] {
                let ticks = log(lo, hi, most);
                assert!(!ticks.major.is_empty(), "{lo} {hi} {most}");
                for tick in &ticks.major {
                    assert!(tick.at >= lo * (1.0 - 1e-6) && tick.at <= hi * (1.0 + 1e-6));
                    assert!((read(&tick.label) / tick.at - 1.0).abs() < 1e-6, "{} at {}", tick.label, tick.at);
                }
            }
        }
    }

    #[test]
    fn ranges_without_width_have_no_ticks() {
        for (lo, hi) in [(1.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
            assert_eq!(linear(lo, hi, 5.0), Ticks::default());
            assert_eq!(log(lo, hi, 5.0), Ticks::default());
        }
        assert_eq!(log(-1.0, 1.0, 5.0), Ticks::default());
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (200.0, "200"),
            (0.0, "0"),
            (-0.000_12, "−0.00012"),
            (1.0, "1"),
            (1e6, "10^{6}"),
            (2.5e-7, "2.5×10^{−7}"),
            (999.96, "1000"),
            (0.125, "0.125"),
        ] {
            assert_eq!(compact(value, 4), text);
        }
        assert_eq!(fixed(-0.001, 2), "0.00");
        assert_eq!(significant(1.0377, 2), "1.0");
        assert_eq!(compact(f64::NAN, 3), "n/a");
    }

    /// Labels of a stretched scale keep their distance and their order.
    #[test]
    fn stretched_ticks_keep_their_distance() {
        for hi in [1.0, 7.3, 4e4, 2e-6] {
            let place = |v: f64| 300.0 * (v / hi).max(0.0).powf(0.4);
            let ticks = stretched(0.0, hi, &place, 30.0);
            assert!(ticks.major.len() >= 4);
            for pair in ticks.major.windows(2) {
                assert!(place(pair[1].at) - place(pair[0].at) >= 30.0);
            }
        }
    }
}
