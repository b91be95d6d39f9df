//! Masks from other masks and from velocity fields.

use crate::data::{CubeInfo, Image, Mask};
use crate::error::Result;
use crate::products::ProductsError;
use crate::units::Velocity;

crate::options! {
    /// Options of the union of masks.
    pub struct UnionOptions {
        /// Fraction of the masks that must hold a voxel; 0 takes a voxel of any. PHANGS's "somescales" is 0.25.
        ["1"] at_least: f64 = 0.0,
    }
}

crate::options! {
    /// Options of masks about a velocity field.
    pub struct VelocityMaskOptions {
        /// Full width of the window about the velocity of a pixel.
        ["km/s"] window: Velocity = Velocity(50.0),
    }
}

/// The broad mask: voxels of any of the masks, or of a fraction of them, all on one grid.
pub fn mask_broad(masks: &[&Mask], options: &UnionOptions) -> Result<Mask> {
    let Some((first, rest)) = masks.split_first() else {
        return Err(ProductsError::Missing("a union of masks needs at least one mask".into()).into());
    };
    if !(0.0..=1.0).contains(&options.at_least) {
        return Err(
            ProductsError::Option { name: "at_least", value: options.at_least.to_string(), expected: "a fraction from 0 to 1" }.into()
        );
    }
    let mut any = (*first).clone();
    rest.iter().try_for_each(|m| any.or(m))?;
    let needed = (options.at_least * masks.len() as f64 - 1e-9).ceil().max(1.0) as usize;
    if needed <= 1 {
        return Ok(any);
    }
    let [_, ny, _] = any.shape();
    let words = any.row_words();
    for (i, out) in any.words_mut().iter_mut().enumerate() {
        let (z, y, w) = (i / words / ny, i / words % ny, i % words);
        let mut kept = 0;
        for bit in crate::data::set_bits(&[*out]) {
            let n = masks.iter().filter(|m| m.row(z, y)[w] >> bit & 1 == 1).count();
            kept |= u64::from(n >= needed) << bit;
        }
        *out = kept;
    }
    Ok(any)
}

/// The voxels within half a window of the velocity of their pixel; pixels without a velocity have none.
///
/// `field` is in km/s, in the velocity definition of the cube. Joined to a strict mask it is PHANGS's flat mask.
pub fn mask_velocity(info: &CubeInfo, field: &Image, options: &VelocityMaskOptions) -> Result<Mask> {
    if (field.ny(), field.nx()) != (info.ny(), info.nx()) {
        let (found, expected) = (vec![1, field.ny(), field.nx()], info.shape().to_vec());
        return Err(ProductsError::Grid { what: "velocity field", found, expected }.into());
    }
    let velocity = info.spectral().velocities_kms()?;
    let half = options.window.0 / 2.0;
    let field = field.data();
    Ok(Mask::from_fn(info.shape(), |z, y, x| (velocity[z] - f64::from(field[[y, x]])).abs() <= half))
}

/// A mask over the channels of a map of pixels.
pub fn mask_from_map(info: &CubeInfo, pixels: &Mask) -> Result<Mask> {
    let [_, ny, nx] = info.shape();
    if pixels.shape() != [1, ny, nx] {
        return Err(ProductsError::Grid { what: "mask", found: pixels.shape().to_vec(), expected: vec![1, ny, nx] }.into());
    }
    let mut out = Mask::empty(info.shape());
    let n = pixels.words().len();
    out.words_mut().chunks_exact_mut(n).for_each(|plane| plane.copy_from_slice(pixels.words()));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Unit;
    use crate::products::testing::info_of;
    use ndarray::Array2;

    #[test]
    fn a_union_by_counting() {
        let shape = [3, 4, 70];
        let masks: Vec<Mask> = (2..6).map(|k| Mask::from_fn(shape, |z, y, x| (z + y + x) % k == 0)).collect();
        let all: Vec<&Mask> = masks.iter().collect();
        for (at_least, n) in [(0.0, 1), (0.25, 1), (0.5, 2), (0.6, 3), (1.0, 4)] {
            let expected = Mask::from_fn(shape, |z, y, x| masks.iter().filter(|m| m.get(z, y, x)).count() >= n);
            assert_eq!(mask_broad(&all, &UnionOptions { at_least }).unwrap(), expected, "{at_least}");
        }
        assert!(mask_broad(&[], &UnionOptions::default()).is_err());
    }

    #[test]
    fn a_window_follows_the_velocity_field() {
        let info = info_of([21, 1, 3], None);
        let field =
            Image::new(Array2::from_shape_vec((1, 3), vec![-25.0, f32::NAN, 0.0]).unwrap(), info.sky().clone(), Unit::new("km/s")).unwrap();
        let mask = mask_velocity(&info, &field, &VelocityMaskOptions { window: Velocity(10.0) }).unwrap();
        let channels = |x: usize| (0..21).filter(|z| mask.get(*z, 0, x)).collect::<Vec<_>>();
        // -50 + 2.5 z within 5 of -25: z from 8 to 12; of 0: 18 to 20, where the cube ends
        assert_eq!((channels(0), channels(1), channels(2)), ((8..13).collect(), vec![], (18..21).collect()));
    }
}
