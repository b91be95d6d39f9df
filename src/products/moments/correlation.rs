//! How much the noise of neighbouring channels is alike.

use rayon::prelude::*;

use crate::data::{CubeSource, Mask};
use crate::error::Result;
use crate::notice::Reporter;
use crate::products::{Noise, ProductsError};

/// Correlation of the noise of channels 1 .. `max_lag` apart, from voxels outside `exclude`.
///
/// The mean of n(z) n(z + k) over the mean of n(z)², n the data over their noise. Values beyond 4 sigma are left out, so that what
/// the mask misses of the signal does not count.
pub fn channel_correlation(
    source: &dyn CubeSource,
    noise: &Noise,
    exclude: Option<&Mask>,
    max_lag: usize,
    notice: &dyn Reporter,
) -> Result<Vec<f64>> {
    let [nc, ny, nx] = source.info().shape();
    for (what, found) in [("noise", Some(noise.shape())), ("mask", exclude.map(Mask::shape))] {
        if let Some(found) = found.filter(|f| *f != [nc, ny, nx]) {
            return Err(ProductsError::Grid { what, found: found.to_vec(), expected: vec![nc, ny, nx] }.into());
        }
    }
    if max_lag >= nc {
        return Err(
            ProductsError::Option { name: "max_lag", value: max_lag.to_string(), expected: "fewer than the channels of the cube" }.into()
        );
    }
    // Sums of products and their number for lags 0 ..= max_lag, row by row, added in the order of rows.
    let rows: Vec<Vec<(f64, u64)>> = (0..ny)
        .into_par_iter()
        .map(|y| {
            notice.check()?;
            let mut buffer = Vec::new();
            let block = source.block(0..nc, y..y + 1, &mut buffer)?;
            let mut sigma = vec![0.0f32; nx];
            let mut n = vec![f32::NAN; nc * nx];
            for (z, line) in n.chunks_exact_mut(nx).enumerate() {
                noise.row(z, y, &mut sigma);
                for x in 0..nx {
                    let r = block[[z, 0, x]] / sigma[x];
                    let used = r.abs() < 4.0 && !exclude.is_some_and(|m| m.get(z, y, x));
                    line[x] = if used { r } else { f32::NAN };
                }
            }
            let lag = |k: usize| {
                let (mut sum, mut count) = (0.0f64, 0u64);
                for (a, b) in n.iter().zip(&n[k * nx..]) {
                    let p = f64::from(a * b);
                    if !p.is_nan() {
                        sum += p;
                        count += 1;
                    }
                }
                (sum, count)
            };
            Ok((0..=max_lag).map(lag).collect())
        })
        .collect::<Result<_>>()?;
    let total = |k: usize| rows.iter().fold((0.0, 0), |(s, n), r| (s + r[k].0, n + r[k].1));
    let mean = |k: usize| {
        let (s, n) = total(k);
        s / n as f64
    };
    let zero = mean(0);
    if !(zero > 0.0) {
        return Err(ProductsError::AllBlank((nc * ny * nx) as u64).into());
    }
    Ok((1..=max_lag).map(|k| mean(k) / zero).collect())
}
