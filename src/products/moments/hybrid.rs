//! Velocity fields put together from several maps.

use ndarray::Array2;

use crate::data::Image;
use crate::error::Result;
use crate::products::ProductsError;
use crate::units::Velocity;

crate::options! {
    /// Options of the mean velocity with a prior.
    pub struct HybridOptions {
        /// Signal to noise that the broad integrated intensity must exceed.
        ["1"] mom0_threshold: f64 = 2.0,
        /// Largest difference from the prior at which a broad velocity is believed.
        ["km/s"] reject: Velocity = Velocity(20.0),
    }
}

/// What the mean velocity with a prior is made from, all on one grid.
#[derive(Debug, Clone, Copy)]
pub struct VelocityMaps<'a> {
    /// Mean velocity in the strict mask and its error.
    pub strict: (&'a Image, &'a Image),
    /// Mean velocity in the broad mask and its error.
    pub broad: (&'a Image, &'a Image),
    /// Integrated intensity in the broad mask and its error.
    pub broad_mom0: (&'a Image, &'a Image),
    /// A velocity field to trust, usually of coarser resolution.
    pub prior: &'a Image,
}

/// Mean velocity of the strict mask, completed by that of the broad mask where the line is detected and near the prior.
pub fn mom1_with_prior(maps: &VelocityMaps<'_>, options: &HybridOptions) -> Result<(Image, Image)> {
    let (strict, strict_error) = maps.strict;
    let shape = strict.data().dim();
    for (what, image) in [
        ("strict error", strict_error),
        ("broad mom1", maps.broad.0),
        ("broad emom1", maps.broad.1),
        ("broad mom0", maps.broad_mom0.0),
        ("broad emom0", maps.broad_mom0.1),
        ("prior", maps.prior),
    ] {
        if image.data().dim() != shape {
            let found = vec![1, image.ny(), image.nx()];
            return Err(ProductsError::Grid { what, found, expected: vec![1, shape.0, shape.1] }.into());
        }
    }
    let at = |image: &Image, y: usize, x: usize| f64::from(image.data()[[y, x]]);
    let mut value = strict.data().clone();
    for ((y, x), v) in value.indexed_iter_mut().filter(|(_, v)| v.is_nan()) {
        let broad = at(maps.broad.0, y, x);
        let detected = at(maps.broad_mom0.0, y, x) > options.mom0_threshold * at(maps.broad_mom0.1, y, x);
        // A blank prior rejects: the comparison with NaN is false.
        if detected && (broad - at(maps.prior, y, x)).abs() < options.reject.0 {
            *v = broad as f32;
        }
    }
    let error = Array2::from_shape_fn(shape, |(y, x)| {
        let e = strict_error.data()[[y, x]];
        if e.is_finite() {
            e
        } else if value[[y, x]].is_finite() {
            maps.broad.1.data()[[y, x]]
        } else {
            f32::NAN
        }
    });
    Ok((strict.with_data(value, strict.unit.clone())?, strict_error.with_data(error, strict_error.unit.clone())?))
}

/// A velocity field from maps in the order of preference: each fills the pixels that are still blank. All on one grid.
pub fn velocity_field(maps: &[&Image]) -> Result<Image> {
    let Some((first, rest)) = maps.split_first() else {
        return Err(ProductsError::Missing("a velocity field needs at least one map".into()).into());
    };
    let mut out = first.data().clone();
    for m in rest {
        if m.data().dim() != out.dim() {
            let (found, expected) = (vec![1, m.ny(), m.nx()], vec![1, out.nrows(), out.ncols()]);
            return Err(ProductsError::Grid { what: "velocity map", found, expected }.into());
        }
        out.zip_mut_with(m.data(), |o, v| {
            if o.is_nan() {
                *o = *v;
            }
        });
    }
    Ok(first.with_data(out, first.unit.clone())?)
}
