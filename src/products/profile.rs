//! Radial profiles of maps.

use super::ProductsError;
use super::noise::median_f64;
use super::region::Disc;
use crate::data::Image;
use crate::error::{Error, Result};
use crate::units::Angle;

crate::options! {
    /// Options of radial profiles.
    pub struct ProfileOptions {
        /// Width of a ring in the plane of the disc; automatic is the beam's major axis.
        ["arcsec"] width: Option<Angle> = None,
        /// Largest radius; automatic reaches the farthest pixel.
        ["arcsec"] max_radius: Option<Angle> = None,
        /// Blank pixels count as 0, as for sight lines without a detection.
        [""] blanks_as_zero: bool = false,
    }
}

/// A radial profile, ring by ring.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct RadialProfile {
    /// Middle of each ring, rad, in the plane of the disc.
    pub radius_rad: Vec<f64>,
    /// Mean of the pixels.
    pub mean: Vec<f64>,
    /// Error of the mean from the errors of the pixels, those of a beam counting once; NaN without errors.
    pub error: Vec<f64>,
    /// Median of the pixels.
    pub median: Vec<f64>,
    /// Standard deviation of the pixels.
    pub scatter: Vec<f64>,
    /// Pixels with a value.
    pub n_pixels: Vec<u64>,
    /// Fraction of the ring's pixels that have a value.
    pub filled: Vec<f64>,
    /// Unit of the values.
    pub unit: crate::data::Unit,
}

/// Means of a map over rings of a disc.
pub fn radial_profile(map: &Image, error: Option<&Image>, disc: &Disc, options: &ProfileOptions) -> Result<RadialProfile> {
    let shape = [map.ny(), map.nx()];
    if let Some(e) = error.filter(|e| [e.ny(), e.nx()] != shape) {
        return Err(ProductsError::Grid { what: "error map", found: vec![1, e.ny(), e.nx()], expected: vec![1, shape[0], shape[1]] }.into());
    }
    if !(0.0..std::f64::consts::FRAC_PI_2).contains(&disc.inclination_rad) {
        let value = format!("{} deg", disc.inclination_rad.to_degrees());
        return Err(ProductsError::Option { name: "inclination", value, expected: "from 0 to less than 90 deg" }.into());
    }
    let polar = disc
        .polar(map.sky(), shape)
        .ok_or_else(|| Error::user(format!("the center {} has no place in the frame of the map", disc.center)))?;
    let width = match (options.width, map.beam) {
        (Some(w), _) => w.0,
        (None, Some(b)) => b.bmaj_rad(),
        (None, None) => return Err(crate::data::DataError::NoBeam("an automatic ring width").into()),
    };
    if !(width > 0.0) {
        return Err(ProductsError::Option {
            name: "width",
            value: format!("{} arcsec", Angle(width).arcsec()),
            expected: "a positive angle",
        }
        .into());
    }
    let largest = options.max_radius.map_or_else(|| polar.iter().map(|p| p.0).fold(0.0, f64::max), |r| r.0);
    let n_rings = ((largest / width).ceil() as usize).max(1);
    let mut rings: Vec<Ring> = (0..n_rings).map(|_| Ring::default()).collect();
    for ((y, x), (r, _)) in polar.indexed_iter() {
        let Some(ring) = (r.is_finite()).then(|| rings.get_mut((r / width) as usize)).flatten() else { continue };
        ring.all += 1;
        let v = f64::from(map.data()[[y, x]]);
        if v.is_finite() {
            ring.values.push(v);
            ring.variance += error.map_or(f64::NAN, |e| f64::from(e.data()[[y, x]]).powi(2));
        }
    }
    let ppb = map.pixels_per_beam().unwrap_or(1.0).max(1.0);
    let mut out = RadialProfile {
        radius_rad: (0..n_rings).map(|i| (i as f64 + 0.5) * width).collect(),
        mean: vec![],
        error: vec![],
        median: vec![],
        scatter: vec![],
        n_pixels: vec![],
        filled: vec![],
        unit: map.unit.clone(),
    };
    for ring in rings {
        ring.put(ppb, options.blanks_as_zero, &mut out);
    }
    Ok(out)
}

#[derive(Default)]
struct Ring {
    all: u64,
    values: Vec<f64>,
    variance: f64,
}

impl Ring {
    fn put(mut self, ppb: f64, blanks_as_zero: bool, out: &mut RadialProfile) {
        let known = self.values.len() as u64;
        if blanks_as_zero {
            self.values.resize(self.all as usize, 0.0);
        }
        let n = self.values.len() as f64;
        let mean = self.values.iter().sum::<f64>() / n;
        let scatter = (self.values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
        out.mean.push(mean);
        out.error.push(if known == 0 { f64::NAN } else { (self.variance * ppb.min(known as f64)).sqrt() / n });
        out.scatter.push(scatter);
        out.n_pixels.push(known);
        out.filled.push(known as f64 / self.all as f64);
        out.median.push(median_f64(self.values).unwrap_or(f64::NAN));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Beam, Unit};
    use crate::products::testing::info_of;
    use crate::units::ARCSEC;
    use ndarray::Array2;

    /// An exponential disc of scale length 12", inclined by 60° at 30°: the profile is the exponential, to the 2 % that rings of
    /// 3" blur.
    #[test]
    fn an_inclined_disc_comes_back_round() {
        let info = info_of([1, 121, 121], Some(Beam::round(3.0 * ARCSEC).unwrap()));
        let center = info.sky().sky_from_pixel(60.0, 60.0).unwrap();
        let disc = Disc { center, pa_rad: 0.5, inclination_rad: 60f64.to_radians() };
        let polar = disc.polar(info.sky(), [121, 121]).unwrap();
        let data = polar.mapv(|(r, _)| (-r / (12.0 * ARCSEC)).exp() as f32);
        let map = info.image(data, Unit::new("K km/s")).unwrap();
        let error = map.with_data(Array2::from_elem((121, 121), 0.1), Unit::new("K km/s")).unwrap();
        let p = radial_profile(&map, Some(&error), &disc, &ProfileOptions { max_radius: Some(Angle(40.0 * ARCSEC)), ..Default::default() })
            .unwrap();
        for (i, r) in p.radius_rad.iter().enumerate().skip(1) {
            assert!((p.mean[i] / (-r / (12.0 * ARCSEC)).exp() - 1.0).abs() < 0.02, "{i}: {}", p.mean[i]);
        }
        let beams = p.n_pixels[5] as f64 / map.pixels_per_beam().unwrap();
        assert!((p.error[5] / (0.1 / beams.sqrt()) - 1.0).abs() < 1e-5);
        // Azimuth 0 is the major axis: north turned by the position angle to the east, which is to lower x.
        let (_, azimuth) = polar[[60 + (20.0 * 0.5f64.cos()).round() as usize, 60 - (20.0 * 0.5f64.sin()).round() as usize]];
        assert!(azimuth.abs() < 0.1, "{azimuth}");
    }

    #[test]
    fn blanks_lower_the_mean_only_when_they_count_as_zero() {
        let info = info_of([1, 11, 11], None);
        let data = Array2::from_shape_fn((11, 11), |(y, _)| if y > 5 { f32::NAN } else { 2.0 });
        let map = info.image(data, Unit::new("K")).unwrap();
        let disc = Disc::flat(info.sky().sky_from_pixel(5.0, 5.0).unwrap());
        let run = |zero: bool| {
            let o = ProfileOptions { width: Some(Angle(20.0 * ARCSEC)), blanks_as_zero: zero, ..Default::default() };
            radial_profile(&map, None, &disc, &o).unwrap()
        };
        assert_eq!(run(false).mean[0], 2.0);
        assert!((run(true).mean[0] - 2.0 * 66.0 / 121.0).abs() < 1e-9 && (run(true).filled[0] - 66.0 / 121.0).abs() < 1e-9);
        assert!(radial_profile(&map, None, &disc, &ProfileOptions::default()).unwrap_err().message.contains("beam"));
    }
}
