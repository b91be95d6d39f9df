//! Sets as the imaging room takes them: pointings with the array that took them.

use crate::calendar::{MJD_OF_1970, civil_from_days};
use crate::data::{BaselinesOf, CardValue, Meta, VisSource};
use crate::error::{Error, Result};
use crate::imaging::{Array, ImagingError, Input};
use crate::ms::select::Selection;
use crate::ms::{MeasurementSet, Selected};
use crate::script::verbs::SetArg;
use crate::sky::SpectralFrame;

/// The pointings of several sets, one for each kind of dish.
pub struct Pointings {
    selected: Vec<BaselinesOf<Selected>>,
    arrays: Vec<Array>,
}

impl Pointings {
    /// Opens what the selection means in each set: one selection for each phase center and kind of dish. Baselines between
    /// dishes of two kinds are left out.
    pub fn open(sets: &[SetArg], selection: &Selection) -> Result<Pointings> {
        let mut out = Pointings { selected: Vec::new(), arrays: Vec::new() };
        let whole = Pointings::open_whole(sets, selection)?;
        for (selected, all) in whole.selected.into_iter().zip(whole.arrays) {
            let kinds = kinds_of_dishes(&all.dish_m);
            if kinds.len() < 2 {
                out.arrays.push(all);
                out.selected.push(selected);
                continue;
            }
            for dish_m in kinds {
                let kept: Vec<bool> = all.dish_m.iter().map(|d| (d - dish_m).abs() < SAME_DISH_M).collect();
                let dish_m = all.dish_m.iter().zip(&kept).map(|(d, k)| if *k { *d } else { 0.0 }).collect();
                out.arrays.push(Array { dish_m, ..all.clone() });
                out.selected.push(BaselinesOf::between(selected.inner().clone(), kept));
            }
        }
        Ok(out)
    }

    /// Opens what the selection means in each set, one selection for each phase center.
    pub fn open_whole(sets: &[SetArg], selection: &Selection) -> Result<Pointings> {
        if sets.is_empty() {
            return Err(Error::user("no sets are given to image").hint("give at least one MeasurementSet"));
        }
        for (i, set) in sets.iter().enumerate() {
            if sets[..i].iter().any(|other| other.path == set.path && other.block == set.block) {
                return Err(ImagingError::Twice { name: set.name() }.into());
            }
        }
        let mut out = Pointings { selected: Vec::new(), arrays: Vec::new() };
        for set in sets {
            for selected in set.select_pointings(selection)? {
                out.arrays.push(array(&selected));
                out.selected.push(BaselinesOf::all(selected));
            }
        }
        Ok(out)
    }

    /// As inputs of images.
    pub fn inputs(&self) -> Vec<Input<'_>> {
        self.selected.iter().zip(&self.arrays).map(|(vis, array)| Input { vis, array }).collect()
    }

    /// The selections, one for each pointing of each set.
    pub fn selected(&self) -> Vec<Selected> {
        self.selected.iter().map(|s| s.inner().clone()).collect()
    }

    /// The column of visibilities that is read.
    pub fn data_column(&self) -> String {
        self.selected.first().map_or("DATA".into(), |s| s.inner().data_column().to_string())
    }

    /// Cards that say where the visibilities come from.
    pub fn meta(&self) -> Meta {
        let mut meta = Meta::default();
        let Some(first) = self.selected.first() else { return meta };
        let first = first.inner();
        let set = first.set();
        let mut text = |key: &str, value: &str, comment: &str| meta.set(key, CardValue::Text(value.into()), comment);
        text("OBJECT", first.fields().first().map_or("", |f| set.fields[*f].name.as_str()), "");
        if let Some(observation) = set.observations.first() {
            text("TELESCOP", &observation.telescope, "");
            text("INSTRUME", &observation.telescope, "");
            text("OBSERVER", &observation.observer, "");
        }
        if let Some((_, time_s)) = set.rows.time_s.within(0..1).next() {
            text("DATE-OBS", &date_of(time_s), "");
            text("TIMESYS", "UTC", "");
        }
        let center = first.phase_center();
        let mut real = |key: &str, value: f64| meta.set(key, CardValue::Real(value), "");
        real("OBSRA", center.ra_rad.to_degrees().rem_euclid(360.0));
        real("OBSDEC", center.dec_rad.to_degrees());
        for (key, metres) in ["OBSGEO-X", "OBSGEO-Y", "OBSGEO-Z"].into_iter().zip(self.arrays[0].position_m) {
            real(key, metres);
        }
        meta
    }
}

/// `2017-12-26T10:27:59.616000` of MJD seconds.
fn date_of(time_s: f64) -> String {
    let micro = (time_s * 1e6).round() as i64;
    let (day, rest) = (micro.div_euclid(86_400_000_000), micro.rem_euclid(86_400_000_000));
    let (y, m, d) = civil_from_days(day - MJD_OF_1970);
    let (s, us) = (rest / 1_000_000, rest % 1_000_000);
    format!("{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}.{us:06}", s / 3600, s / 60 % 60, s % 60)
}

fn array(selected: &Selected) -> Array {
    let set = selected.set();
    let windows = selected.windows();
    let band = |w: &crate::ms::SelectedWindow| {
        let ends = w.channels_hz.iter().fold((f64::INFINITY, 0f64), |(a, b), (low, high)| (a.min(*low), b.max(*high)));
        let half = half_channel(set, w.id);
        if w.channels_hz.is_empty() { w.range_hz } else { (ends.0 - half, ends.1 + half) }
    };
    let band_hz = windows.iter().map(band).fold((f64::INFINITY, 0f64), |(a, b), (low, high)| (a.min(low), b.max(high)));
    let placed: Vec<[f64; 3]> = set.antennas.iter().map(|a| a.position_m).filter(is_on_earth).collect();
    let n = placed.len().max(1) as f64;
    let mean = |i: usize| placed.iter().map(|p| p[i]).sum::<f64>() / n;
    Array {
        telescope: set.observations.first().map(|o| o.telescope.clone()).unwrap_or_default(),
        position_m: [mean(0), mean(1), mean(2)],
        dish_m: set.antennas.iter().map(|a| a.dish_m).collect(),
        frames: set.spws.iter().map(|s| SpectralFrame::from_name(&s.frame).unwrap_or(SpectralFrame::Topo)).collect(),
        band_hz,
        longest_baseline_m: longest_baseline_m(set),
    }
}

/// Diameters within this of each other are one kind of dish, metres.
const SAME_DISH_M: f64 = 0.5;

/// Diameters that differ: [12 12 7 12] -> [12 7].
fn kinds_of_dishes(dish_m: &[f64]) -> Vec<f64> {
    let mut kinds: Vec<f64> = Vec::new();
    for d in dish_m.iter().filter(|d| **d > 0.0) {
        if !kinds.iter().any(|k| (k - d).abs() < SAME_DISH_M) {
            kinds.push(*d);
        }
    }
    kinds
}

fn half_channel(set: &MeasurementSet, spw: usize) -> f64 {
    set.spws[spw].width_hz.first().map_or(0.0, |w| 0.5 * w.abs())
}

/// False for the middle of the earth, where antennas without a place stand.
fn is_on_earth(position_m: &[f64; 3]) -> bool {
    position_m.iter().map(|x| x * x).sum::<f64>() > 1e6
}

fn longest_baseline_m(set: &MeasurementSet) -> f64 {
    let distance = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
    let antennas: Vec<[f64; 3]> = set.antennas.iter().map(|a| a.position_m).filter(is_on_earth).collect();
    let pairs = antennas.iter().enumerate().flat_map(|(i, a)| antennas[i + 1..].iter().map(move |b| distance(*a, *b)));
    pairs.fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sets of WSRT hold antennas without a place: in the middle of the earth they would make baselines of its radius.
    #[test]
    fn antennas_without_a_place_do_not_count() {
        assert!(is_on_earth(&[3.8e6, 4.4e5, 5.0e6]) && !is_on_earth(&[0.0; 3]));
    }

    #[test]
    fn times_become_dates() {
        assert_eq!(date_of(59_776.535_490_862_615 * 86_400.0)[..19], *"2022-07-16T12:51:06");
        assert_eq!(date_of(0.0), "1858-11-17T00:00:00.000000");
        assert_eq!(date_of(51_603.5 * 86_400.0), "2000-02-29T12:00:00.000000");
    }
}
