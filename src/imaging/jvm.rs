//! The correction of Jorsater & van Moorsel (1995, AJ 110, 2037): residuals scaled from the dirty beam's volume to the clean beam's.

use ndarray::ArrayView2;

use crate::data::Beam;

/// Volume of the clean beam over that of the dirty beam, which is counted out to its first null in every direction.
///
/// An image model ⊛ beam + ε residual has one unit for both parts. It scales the noise by ε as well, so it is no measure of
/// sensitivity (Casassus & Cárcamo 2022, MNRAS 513, 5790).
pub fn jvm_epsilon(psf_yx: ArrayView2<f32>, beam: Beam, cell_rad: f64) -> Option<f64> {
    let center = psf_yx.indexed_iter().max_by(|a, b| a.1.total_cmp(b.1)).map(|(i, _)| i)?;
    let clean = beam.sr() / (cell_rad * cell_rad);
    let dirty = volume_to_first_null(psf_yx, center)?;
    (dirty > 0.0).then(|| clean / dirty)
}

/// Σ of the pixels that are reached from the peak along a straight line without a negative one; `None` if no null lies inside the image.
fn volume_to_first_null(psf: ArrayView2<f32>, (yc, xc): (usize, usize)) -> Option<f64> {
    let (ny, nx) = psf.dim();
    // Along each row from the middle column, as the published script does: rows above and below start at the middle
    // column if it has not yet crossed a null there.
    let mut sum = 0.0;
    let mut row_sum = |y: usize| -> bool {
        if psf[[y, xc]] <= 0.0 {
            return false;
        }
        let right = (xc..nx).map(|x| psf[[y, x]]).take_while(|v| *v > 0.0).map(f64::from).sum::<f64>();
        let left = (0..xc).rev().map(|x| psf[[y, x]]).take_while(|v| *v > 0.0).map(f64::from).sum::<f64>();
        sum += right + left;
        true
    };
    let up = (yc..ny).take_while(|y| row_sum(*y)).count();
    let down = (0..yc).rev().take_while(|y| row_sum(*y)).count();
    (up < ny - yc && down < yc).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::ARCSEC;
    use ndarray::Array2;

    #[test]
    fn a_gaussian_psf_with_nulls_far_out_needs_no_correction() {
        let beam = Beam::round(6.0 * ARCSEC).unwrap();
        let psf = Array2::from_shape_fn((81, 81), |(y, x)| {
            let r2 = (x as f64 - 40.0).powi(2) + (y as f64 - 40.0).powi(2);
            ((-4.0 * std::f64::consts::LN_2 * r2 / 36.0).exp() - 1e-9) as f32
        });
        assert!((jvm_epsilon(psf.view(), beam, ARCSEC).unwrap() - 1.0).abs() < 1e-4);
    }

    #[test]
    fn wide_skirts_lower_epsilon() {
        let beam = Beam::round(6.0 * ARCSEC).unwrap();
        let psf = Array2::from_shape_fn((81, 81), |(y, x)| {
            let r2 = (x as f64 - 40.0).powi(2) + (y as f64 - 40.0).powi(2);
            (0.9 * (-r2 / 13.0).exp() + 0.1 * (-r2 / 150.0).exp() - 1e-5) as f32
        });
        let epsilon = jvm_epsilon(psf.view(), beam, ARCSEC).unwrap();
        assert!(epsilon > 0.3 && epsilon < 0.6, "{epsilon}");
        // No null in sight: nothing can be said.
        assert_eq!(jvm_epsilon(psf.mapv(|v| v + 1e-3).view(), beam, ARCSEC), None);
    }
}
