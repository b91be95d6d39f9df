//! A mask of other pixels and channels on those of an image: nearest neighbour, as velocity.

use ndarray::{Array2, ArrayView2, Axis};

use crate::data::Cube;
use crate::sky::{Celestial, SpectralAxis};

/// The mask (values above 0) on the pixels of an image, plane by plane; outside the mask's own sky and band nothing is masked.
///
/// A mask of one plane serves all channels, and one of several is joined for an image of one plane.
pub fn mask_on_grid(mask: &Cube, sky: &Celestial, spectral: &SpectralAxis, shape_yx: (usize, usize)) -> Vec<Array2<bool>> {
    let info = mask.info();
    let same_sky = info.sky().keys() == sky.keys() && (info.ny(), info.nx()) == shape_yx;
    let pixels = if same_sky { None } else { Some(pixel_map(info.sky(), sky, shape_yx)) };
    let on_sky = |plane: ArrayView2<f32>| match &pixels {
        None => plane.mapv(|v| v > 0.0),
        Some(map) => map.mapv(|at| at.and_then(|(y, x)| plane.get((y, x))).is_some_and(|v| *v > 0.0)),
    };
    if spectral.n_chan() == 1 || info.n_chan() == 1 {
        let mut joined = Array2::from_elem(shape_yx, false);
        for plane in mask.data().axis_iter(Axis(0)) {
            ndarray::Zip::from(&mut joined).and(&on_sky(plane)).for_each(|j, m| *j |= m);
        }
        return vec![joined];
    }
    let channel = |c: usize| channel_of(info.spectral(), spectral, c);
    let blank = || Array2::from_elem(shape_yx, false);
    (0..spectral.n_chan()).map(|c| channel(c).map_or_else(blank, |i| on_sky(mask.data().index_axis(Axis(0), i)))).collect()
}

/// The pixel (y, x) of `from` that lies under each pixel of `to`.
fn pixel_map(from: &Celestial, to: &Celestial, shape_yx: (usize, usize)) -> Array2<Option<(usize, usize)>> {
    let whole = |v: f64| (v > -0.5).then(|| v.round() as usize);
    Array2::from_shape_fn(shape_yx, |(y, x)| {
        let direction = to.sky_from_pixel(x as f64, y as f64)?.in_frame(from.frame())?;
        let (px, py) = from.pixel_from_sky(direction)?;
        Some((whole(py)?, whole(px)?))
    })
}

/// The channel of the mask nearest in velocity to a channel of the image; in frequency where either has no rest frequency.
fn channel_of(mask: &SpectralAxis, image: &SpectralAxis, channel: usize) -> Option<usize> {
    let at = match image.velocity_kms(channel as f64) {
        Ok(v) => mask.channel_of_velocity(v).ok()?,
        Err(_) => mask.channel(image.value(channel as f64)),
    };
    let i = at.round();
    (i >= 0.0 && i < mask.n_chan() as f64).then_some(i as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{CubeInfo, Unit};
    use crate::sky::{Direction, Frame, Projection, SpectralKind};
    use crate::units::ARCSEC;
    use ndarray::Array3;

    fn sky(cell: f64, center: f64) -> Celestial {
        let direction = Direction::new(1.0, 0.3, Frame::Icrs);
        Celestial::simple(Projection::Sin { xi: 0.0, eta: 0.0 }, direction, cell * ARCSEC, (center, center)).unwrap()
    }

    fn axis(first: f64, step: f64, n: usize) -> SpectralAxis {
        SpectralAxis::new(SpectralKind::Radio, first * 1e3, step * 1e3, 1.0, n).unwrap().with_rest(230.538e9).unwrap()
    }

    fn mask() -> Cube {
        let info = CubeInfo::new(sky(0.5, 8.0), axis(0.0, 1.0, 4), 16, 16, Unit::none()).unwrap();
        let mut data = Array3::zeros((4, 16, 16));
        data[[1, 8, 8]] = 1.0;
        data[[2, 10, 8]] = 1.0;
        Cube::new(info, data).unwrap()
    }

    #[test]
    fn coarse_masks_cover_the_fine_pixels_under_them() {
        let got = mask_on_grid(&mask(), &sky(0.25, 15.5), &axis(2.0, -0.5, 5), (32, 32));
        let counts: Vec<usize> = got.iter().map(|m| m.iter().filter(|v| **v).count()).collect();
        // 2, 1.5, 1, 0.5, 0 km/s: 1.5 goes to channel 2, 0.5 to channel 1.
        assert_eq!((counts[0], counts[2], counts[4]), (4, 4, 0));
        assert!(got[2][[16, 16]] && got[0][[20, 16]] && !got[2][[20, 16]]);
    }

    #[test]
    fn one_plane_serves_all_and_all_planes_serve_one() {
        let joined = mask_on_grid(&mask(), &sky(0.5, 8.0), &axis(0.0, 9.0, 1), (16, 16));
        assert_eq!(joined.len(), 1);
        assert!(joined[0][[8, 8]] && joined[0][[10, 8]]);
        let flat = mask().cutout(1..2, 0..16, 0..16).unwrap();
        assert_eq!(mask_on_grid(&flat, &sky(0.5, 8.0), &axis(0.0, 1.0, 7), (16, 16)).len(), 1);
    }
}
