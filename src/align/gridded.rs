//! The uv grids of one set: its data are read once into fine cells, from which coarser grids and small shifts follow.

use num_complex::Complex64;
use rayon::prelude::*;

use super::ingest::{CellTable, IngestOptions, Run, Sum, cells, ingest};
use super::{AlignError, UvGrid, UvGridSpec};
use crate::data::VisSource;
use crate::error::Result;
use crate::notice::Reporter;
use crate::sky::Offset;

/// Largest turn of the phase across a fine cell by a shift that is applied to its mean: lowers an amplitude by 4e-5.
const MAX_TURN_IN_CELL: f64 = 5e-3;
/// Largest turn of the phase that may be neglected, of the second order in the shift: |x|² w.
const MAX_SECOND_ORDER: f64 = 2e-5;

/// A set and what was read of it.
pub(super) struct Gridded<'a> {
    source: &'a dyn VisSource,
    fine: Option<Fine>,
}

/// Cells from which others are made.
struct Fine {
    grid: UvGrid,
    /// Offset that was taken out of the data exactly, direction cosines.
    taken_out: [f64; 2],
}

impl<'a> Gridded<'a> {
    /// Reads `source` into cells of `fine`, if cells may be made of cells; else each grid is made of the samples.
    pub fn read(source: &'a dyn VisSource, fine: Option<UvGridSpec>, notice: &dyn Reporter) -> Result<Gridded<'a>> {
        let read = |spec| Fine::read(source, spec, [0.0; 2], notice);
        Ok(Gridded { source, fine: fine.map(read).transpose()? })
    }

    /// One grid for each of `specs`, with an offset (direction cosines) taken out.
    pub fn on(&mut self, specs: &[UvGridSpec], taken_out: [f64; 2], notice: &dyn Reporter) -> Result<Vec<UvGrid>> {
        let is_finest = |f: &Fine| specs.iter().all(|s| s.field_rad() <= f.grid.spec().field_rad());
        let Some(fine) = self.fine.as_mut().filter(|f| is_finest(f)) else {
            return ingest(self.source, specs, &options(self.source, taken_out), notice);
        };
        if !fine.can_be_moved(taken_out) {
            *fine = Fine::read(self.source, *fine.grid.spec(), taken_out, notice)?;
        }
        let rest = fine.rest(taken_out);
        Ok(specs.par_iter().map(|spec| regrid(&fine.grid, *spec, rest)).collect::<Result<Vec<_>, _>>()?)
    }
}

fn options(source: &dyn VisSource, [l, m]: [f64; 2]) -> IngestOptions {
    let recenter = ([l, m] != [0.0; 2]).then(|| Offset::from_lm(source.phase_center(), l, m));
    IngestOptions { recenter, ..IngestOptions::default() }
}

impl Fine {
    fn read(source: &dyn VisSource, spec: UvGridSpec, taken_out: [f64; 2], notice: &dyn Reporter) -> Result<Fine> {
        Ok(Fine { grid: ingest(source, &[spec], &options(source, taken_out), notice)?.remove(0), taken_out })
    }

    fn rest(&self, taken_out: [f64; 2]) -> [f64; 2] {
        [taken_out[0] - self.taken_out[0], taken_out[1] - self.taken_out[1]]
    }

    /// Whether turning the means of the cells is as good as turning the samples.
    fn can_be_moved(&self, taken_out: [f64; 2]) -> bool {
        let [l, m] = self.rest(taken_out);
        let distance = l.hypot(m);
        distance * self.grid.spec().cell_lambda() <= MAX_TURN_IN_CELL && distance * distance * self.grid.max_uv_lambda() <= MAX_SECOND_ORDER
    }
}

/// The cells of `fine` put together on a coarser grid, each by its mean (u, v), after turning them by an offset.
fn regrid(fine: &UvGrid, spec: UvGridSpec, [l, m]: [f64; 2]) -> Result<UvGrid, AlignError> {
    if fine.max_index_on(&spec) > spec.max_index() {
        return Err(spec.too_coarse(fine.name(), fine.max_uv_lambda()));
    }
    let mut table = CellTable::default();
    for c in fine.cells() {
        let turn = if [l, m] == [0.0; 2] { Complex64::ONE } else { Complex64::cis(-std::f64::consts::TAU * (c.u * l + c.v * m)) };
        let indices = (spec.index(c.u) as i32, spec.index(c.v) as i32);
        let (key, mirrored) = spec.key_of(indices, [c.u, c.v]);
        let sum = Sum {
            weight: c.weight,
            vis: c.weight * c.vis * turn,
            u: c.weight * c.u,
            v: c.weight * c.v,
            power: c.scatter + c.weight * c.vis.norm_sqr(),
            count: c.count,
        };
        table.add(&Run { key, sum: if mirrored { sum.mirrored() } else { sum } });
    }
    Ok(fine.with_cells(spec, cells(&[table])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::align::tests::sky::Observation;
    use crate::align::uv_grid::max_uv_lambda;
    use crate::notice::Quiet;

    /// Grids made of fine cells hold the same samples as grids made of the samples, and a point source that was moved to the
    /// phase center is its flux in every cell.
    #[test]
    fn grids_of_cells_hold_what_grids_of_samples_hold() {
        let quiet = Quiet::default();
        let (east, north) = (23.0, -17.0);
        let point = vec![(0.0, 0.0, 1e-6, 1.0)];
        let set = Observation { sigma: 0.0, ..Observation::new("a") }.offset_mas(east, north).observe(&point);
        let [l, m, _] = Offset::from_mas(east, north).lmn(set.phase_center());
        let moved = [l, m];
        let longest = 1.01 * max_uv_lambda(&set, &quiet).unwrap();
        let spec = |fringes: f64| UvGridSpec::for_field(fringes / longest, longest).unwrap();
        let coarse = [spec(256.0), spec(512.0)];
        for shift in [[0.0; 2], moved] {
            let of_cells = Gridded::read(&set, Some(spec(2048.0)), &quiet).unwrap().on(&coarse, shift, &quiet).unwrap();
            let of_samples = Gridded::read(&set, None, &quiet).unwrap().on(&coarse, shift, &quiet).unwrap();
            for (a, b) in of_cells.iter().zip(&of_samples) {
                let weight = |g: &UvGrid| g.cells().iter().map(|c| c.weight).sum::<f64>();
                let count = |g: &UvGrid| g.cells().iter().map(|c| u64::from(c.count)).sum::<u64>();
                assert_eq!((a.spec(), count(a)), (b.spec(), count(b)));
                assert!((weight(a) / weight(b) - 1.0).abs() < 1e-12);
                assert!(a.cells().len().abs_diff(b.cells().len()) <= b.cells().len() / 20, "{} {}", a.cells().len(), b.cells().len());
                // the bounds of the turns within a cell and of the second order, and single precision
                let off = |g: &UvGrid| g.cells().iter().map(|c| (c.vis - 1.0).norm()).fold(0.0, f64::max);
                assert!(shift == [0.0; 2] || off(a) < 2e-4 && off(b) < 1e-6, "{} {}", off(a), off(b));
            }
        }
    }

    #[test]
    fn a_large_shift_reads_the_data_again() {
        let quiet = Quiet::default();
        let set = Observation::new("a").observe(&vec![(0.0, 0.0, 1e-6, 1.0)]);
        let longest = 1.01 * max_uv_lambda(&set, &quiet).unwrap();
        let fine = Fine::read(&set, UvGridSpec::for_field(2048.0 / longest, longest).unwrap(), [0.0; 2], &quiet).unwrap();
        assert!(fine.can_be_moved([1.0 / longest, 0.0]));
        assert!(!fine.can_be_moved([30.0 / longest, 0.0]));
    }
}
