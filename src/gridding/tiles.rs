//! The order in which samples are gridded: tile by tile, so that what is written stays in cache and has one owner.
//!
//! A band is 16 grid rows; kernels that start in band b end in band b+1 at the latest, so that all even bands can be
//! written at the same time, then all odd ones. Within a band samples come tile by tile, and within a tile in the order
//! of the data: which thread does it changes nothing.

use rayon::prelude::*;

use super::{Float, Samples};

/// Rows of a band, and columns of a tile.
pub(super) const TILE: usize = 16;
/// Rows that one task sorts.
const CHUNK_ROWS: usize = 4096;

/// Place of a row on the grid: cells per Hz.
#[derive(Debug, Clone, Copy)]
pub(super) struct Track {
    pub x_per_hz: f64,
    pub y_per_hz: f64,
    /// u < 0: the conjugate visibility at (-u, -v) is gridded instead.
    pub mirrored: bool,
}

/// Channels `start .. end` of a row, all in one tile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub row: u32,
    pub start: u32,
    pub end: u32,
}

/// Where a kernel that covers a point begins; points lie at least -8 cells from the origin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// Added to a coordinate so that its kernel's first cell is the integer part.
    pub x_shift: f64,
    pub y_shift: f64,
    /// Largest frequency-times-track that stays inside.
    pub x_max: f64,
    pub y_max: f64,
    /// Tiles in a band.
    pub n_columns: usize,
    pub n_bands: usize,
}

impl Frame {
    #[inline(always)]
    fn key(&self, track: &Track, freq_hz: f64) -> u32 {
        let x = track.x_per_hz * freq_hz + self.x_shift;
        let y = track.y_per_hz * freq_hz + self.y_shift;
        ((y as usize / TILE) * self.n_columns + x as usize / TILE) as u32
    }
    #[inline(always)]
    fn is_inside(&self, track: &Track, freq_hz: f64) -> bool {
        track.x_per_hz * freq_hz <= self.x_max && (track.y_per_hz * freq_hz).abs() <= self.y_max
    }
}

/// Samples in the order of gridding.
#[derive(Debug, Default)]
pub(super) struct Tiled {
    pub runs: Vec<Run>,
    /// Where each band starts in `runs`.
    pub band: Vec<usize>,
    /// Samples with a weight that lie beyond the grid.
    pub n_outside: u64,
}

/// Sorts samples by tile; channels whose samples all have weight 0 at an end of a row are left out.
pub(super) fn tiled<T: Float>(samples: &Samples<T>, track: &[Track], frame: &Frame) -> Tiled {
    let chunks: Vec<(Vec<(u32, Run)>, u64)> =
        track.par_chunks(CHUNK_ROWS).enumerate().map(|(i, track)| runs_of(samples, i * CHUNK_ROWS, track, frame)).collect();
    let n_keys = frame.n_bands * frame.n_columns;
    let mut place = vec![0usize; n_keys + 1];
    for (key, _) in chunks.iter().flat_map(|c| &c.0) {
        place[*key as usize + 1] += 1;
    }
    for k in 0..n_keys {
        place[k + 1] += place[k];
    }
    let band = (0..=frame.n_bands).map(|b| place[b * frame.n_columns]).collect();
    let mut runs = vec![Run { row: 0, start: 0, end: 0 }; place[n_keys]];
    for (key, run) in chunks.iter().flat_map(|c| &c.0) {
        let at = &mut place[*key as usize];
        runs[*at] = *run;
        *at += 1;
    }
    Tiled { runs, band, n_outside: chunks.iter().map(|c| c.1).sum() }
}

/// Runs of consecutive rows in their order, each with its tile.
pub(super) fn runs_of<T: Float>(samples: &Samples<T>, first_row: usize, track: &[Track], frame: &Frame) -> (Vec<(u32, Run)>, u64) {
    let (n_chan, freq) = (samples.n_chan(), samples.freq_hz);
    let mut runs = Vec::with_capacity(track.len() + track.len() / 2);
    let mut n_outside = 0;
    let monotonic = freq.is_sorted() || freq.is_sorted_by(|a, b| a >= b);
    for (i, track) in track.iter().enumerate() {
        let row = first_row + i;
        let weight = &samples.weight[row * n_chan..(row + 1) * n_chan];
        let used = |w: &T| *w != T::zero();
        let (Some(first), Some(last)) = (weight.iter().position(used), weight.iter().rposition(used)) else { continue };
        if frame.is_inside(track, freq[first]) && frame.is_inside(track, freq[last]) && monotonic {
            split(row as u32, first, last + 1, track, freq, frame, &mut runs);
            continue;
        }
        for chan in first..=last {
            if !used(&weight[chan]) {
            } else if frame.is_inside(track, freq[chan]) {
                runs.push((frame.key(track, freq[chan]), Run { row: row as u32, start: chan as u32, end: chan as u32 + 1 }));
            } else {
                n_outside += 1;
            }
        }
    }
    (runs, n_outside)
}

/// Cuts channels into runs that stay in a tile: a track is straight and a tile convex, so its ends decide.
fn split(row: u32, start: usize, end: usize, track: &Track, freq: &[f64], frame: &Frame, runs: &mut Vec<(u32, Run)>) {
    let (a, b) = (frame.key(track, freq[start]), frame.key(track, freq[end - 1]));
    if a == b {
        runs.push((a, Run { row, start: start as u32, end: end as u32 }));
    } else {
        let middle = start + (end - start) / 2;
        split(row, start, middle, track, freq, frame, runs);
        split(row, middle, end, track, freq, frame, runs);
    }
}
