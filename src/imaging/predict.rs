//! Visibilities of a model: what an array would have seen of it, without noise.

use ndarray::Array2;
use num_complex::{Complex, Complex32};
use rayon::prelude::*;

use super::channels::ChannelGrid;
use super::primary_beam::BandTable;
use super::{ImagingError, Input, PrimaryBeam};
use crate::data::VisBlock;
use crate::error::Result;
use crate::gridding::{Geometry, Oversampling, Samples, WideGridder, WidePlane};
use crate::sky::{Direction, Doppler, Offset, Recenter, SpectralFrame};
use crate::units::C_M_S;

/// A model of the sky.
#[derive(Debug, Clone)]
pub struct Model {
    /// Planes in Jy/pixel, [y, x]: channels, Taylor terms, or one.
    pub planes: Vec<Array2<f32>>,
    /// Pixels.
    pub geometry: Geometry,
    /// Direction of the reference pixel.
    pub center: Direction,
    /// Frame of its frequencies.
    pub frame: SpectralFrame,
    /// Channels of a cube; `None` for a continuum.
    pub channels: Option<ChannelGrid>,
    /// Reference frequency of Taylor terms, Hz; a continuum without is the same at all frequencies.
    pub taylor_hz: Option<f64>,
}

/// Predicts the visibilities of one input.
#[derive(Debug)]
pub struct Predictor<'a> {
    input: Input<'a>,
    frame: SpectralFrame,
    gridder: WideGridder<f64>,
    planes: Vec<WidePlane<f64>>,
    channels: Option<ChannelGrid>,
    taylor_hz: Option<f64>,
    /// From the pointing to the model's reference pixel.
    turn: Option<Recenter>,
}

/// Error of prediction relative to the flux of the model.
const ACCURACY: f64 = 1e-6;

impl<'a> Predictor<'a> {
    /// Prepares the transforms of a model; `beam` is multiplied into it where given.
    pub fn new(input: Input<'a>, model: &Model, beam: Option<PrimaryBeam>) -> Result<Predictor<'a>> {
        let from = input.center();
        let to = model
            .center
            .in_frame(from.frame)
            .ok_or_else(|| ImagingError::Frame { from: model.center.to_string(), to: from.frame.name() })?;
        let (dra_rad, ddec_rad) = from.offset_to(to);
        let turn = (from.separation_rad(to) > 5e-11).then(|| Recenter::by(from, Offset { dra_rad, ddec_rad }));
        let gridder = WideGridder::new(model.geometry, ACCURACY, Oversampling::Two, Some(input.array.max_w_lambda()))?;
        let at = Geometry { center: pixel_of(&model.geometry, to.offset_to(from)), ..model.geometry };
        let highest_hz = model.channels.as_ref().map_or(input.array.middle_hz(), |c| c.range_hz().1);
        let table = beam.map(|b| BandTable::of_image(b, &at, highest_hz));
        let prepare = |(i, plane): (usize, &Array2<f32>)| -> Result<WidePlane<f64>> {
            let freq_hz = model.channels.as_ref().map_or(input.array.middle_hz(), |c| c.freq_hz(i));
            let beam = table.as_ref().map(|t| t.image(&at, freq_hz));
            let seen = |(j, v): (usize, &f32)| {
                f64::from(*v) * beam.as_ref().map_or(1.0, |b| f64::from(b[[j / model.geometry.nx, j % model.geometry.nx]]))
            };
            let values: Vec<f64> = plane.iter().enumerate().map(seen).map(|v| if v.is_finite() { v } else { 0.0 }).collect();
            Ok(gridder.prepare(&values, None, true)?)
        };
        let planes = model.planes.iter().enumerate().map(prepare).collect::<Result<_>>()?;
        Ok(Predictor { input, frame: model.frame, gridder, planes, channels: model.channels.clone(), taylor_hz: model.taylor_hz, turn })
    }

    /// Total intensity of a block, [row][chan], Jy; between the channels of a cube it is interpolated, beyond its ends it is 0.
    pub fn predict(&self, block: &VisBlock) -> Result<Vec<Complex32>> {
        let doppler = self.input.doppler(block.i_spw, self.frame)?;
        let factor: Vec<f64> = factors(&block.time_s, &doppler);
        let own: Vec<[f64; 3]> = block.uvw_m.rows().into_iter().map(|r| [r[0] / C_M_S, r[1] / C_M_S, r[2] / C_M_S]).collect();
        let turned = |(uvw, f): (&[f64; 3], &f64)| self.turn.as_ref().map_or(*uvw, |t| t.uvw(*uvw)).map(|x| x * f);
        let uvw_s: Vec<[f64; 3]> = own.iter().zip(&factor).map(turned).collect();
        let mut vis = match &self.channels {
            None => self.predict_terms(&uvw_s, &factor, &block.freq_hz)?,
            Some(grid) => self.predict_cube(grid, &uvw_s, &factor, &block.freq_hz)?,
        };
        if let Some(turn) = &self.turn {
            let n = block.freq_hz.len().max(1);
            vis.par_chunks_mut(n).zip(own.par_iter().zip(&factor)).with_min_len(256).for_each(|(vis, (uvw, factor))| {
                let path = turn.path(*uvw) * factor;
                vis.iter_mut().zip(block.freq_hz.iter()).for_each(|(v, f)| *v *= Complex::cis(std::f64::consts::TAU * path * f));
            });
        }
        Ok(vis.into_iter().map(|v| Complex32::new(v.re as f32, v.im as f32)).collect())
    }

    fn predict_plane(&self, plane: usize, uvw_s: &[[f64; 3]], freq_hz: &[f64]) -> Result<Vec<Complex<f64>>> {
        let weight = vec![1.0; uvw_s.len() * freq_hz.len()];
        let mut vis = vec![Complex::new(0.0, 0.0); weight.len()];
        self.gridder.predict(&self.planes[plane], &Samples { uvw_s, freq_hz, weight: &weight }, &mut vis, true)?;
        Ok(vis)
    }

    /// Σ term_t ((ν - ν0)/ν0)^t; one plane is the same at all frequencies.
    fn predict_terms(&self, uvw_s: &[[f64; 3]], factor: &[f64], freq_hz: &[f64]) -> Result<Vec<Complex<f64>>> {
        let mut vis = self.predict_plane(0, uvw_s, freq_hz)?;
        let Some(reference_hz) = self.taylor_hz else { return Ok(vis) };
        let n = freq_hz.len().max(1);
        for term in 1..self.planes.len() {
            let part = self.predict_plane(term, uvw_s, freq_hz)?;
            for ((vis, part), factor) in vis.chunks_mut(n).zip(part.chunks(n)).zip(factor) {
                let power = |f: &f64| (f * factor / reference_hz - 1.0).powi(term as i32);
                vis.iter_mut().zip(part).zip(freq_hz).for_each(|((v, p), f)| *v += p * power(f));
            }
        }
        Ok(vis)
    }

    /// Each visibility is a mean of the two channels of the model on either side, weighted by nearness.
    fn predict_cube(&self, grid: &ChannelGrid, uvw_s: &[[f64; 3]], factor: &[f64], freq_hz: &[f64]) -> Result<Vec<Complex<f64>>> {
        let n_chan = freq_hz.len();
        let mut vis = vec![Complex::new(0.0, 0.0); uvw_s.len() * n_chan];
        let (low, high) = factor.iter().fold((f64::INFINITY, 0f64), |(a, b), f| (a.min(*f), b.max(*f)));
        let place = |f: f64| (f - grid.first_hz) / grid.step_hz;
        for plane in 0..grid.n_chan {
            let touches = |f: f64| (place(f * low) - plane as f64).abs() < 1.0 || (place(f * high) - plane as f64).abs() < 1.0;
            let used: Vec<usize> = (0..n_chan).filter(|c| touches(freq_hz[*c])).collect();
            let (Some(first), Some(last)) = (used.first().copied(), used.last().copied()) else { continue };
            let part = self.predict_plane(plane, uvw_s, &freq_hz[first..=last])?;
            let n = last + 1 - first;
            for (row, f) in factor.iter().enumerate() {
                for c in first..=last {
                    let nearness = 1.0 - (place(freq_hz[c] * f) - plane as f64).abs();
                    if nearness > 0.0 {
                        vis[row * n_chan + c] += part[row * n + c - first] * nearness;
                    }
                }
            }
        }
        Ok(vis)
    }
}

/// The factor of each row; rows of one time share it.
fn factors(time_s: &[f64], doppler: &Doppler) -> Vec<f64> {
    let mut last: Option<(f64, f64)> = None;
    let one = |t: &f64| match last {
        Some((time, factor)) if time == *t => factor,
        _ => {
            let factor = doppler.factor(*t);
            last = Some((*t, factor));
            factor
        }
    };
    time_s.iter().map(one).collect()
}

/// The pixel at an offset (east, north) from the reference pixel, on the plane of small angles.
fn pixel_of(g: &Geometry, (east, north): (f64, f64)) -> (f64, f64) {
    (g.center.0 - east / g.cell_rad, g.center.1 + north / g.cell_rad)
}
