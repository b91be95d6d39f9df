//! Connected components of a mask, from its runs along x.

use crate::data::{Mask, set_bits};

/// Which voxels count as neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Neighbours {
    /// Those that share a face.
    #[default]
    Faces,
    /// Those that share a face or an edge.
    Edges,
    /// Those that share a face, an edge or a corner.
    Corners,
}

/// Consecutive voxels of one row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub z: u32,
    pub y: u32,
    pub first: u32,
    pub last: u32,
    pub label: u32,
}

/// The runs of a mask in the order of rows, labelled 0 .. n by component, in the order of their first voxels.
pub(super) struct Components {
    pub runs: Vec<Run>,
    pub n: usize,
}

impl Components {
    pub(super) fn find(mask: &Mask, neighbours: Neighbours) -> Components {
        let [nc, ny, _] = mask.shape();
        let mut runs: Vec<Run> = Vec::new();
        let mut row_start = Vec::with_capacity(nc * ny + 1);
        for z in 0..nc {
            for y in 0..ny {
                row_start.push(runs.len());
                push_runs(mask.row(z, y), z as u32, y as u32, &mut runs);
            }
        }
        row_start.push(runs.len());
        let mut parent: Vec<u32> = (0..runs.len() as u32).collect();
        // Earlier rows that touch, and how far runs may be apart in x.
        let touching: &[(i64, i64, u32)] = match neighbours {
            Neighbours::Faces => &[(0, -1, 0), (-1, 0, 0)],
            Neighbours::Edges => &[(0, -1, 1), (-1, 0, 1), (-1, -1, 0), (-1, 1, 0)],
            Neighbours::Corners => &[(0, -1, 1), (-1, 0, 1), (-1, -1, 1), (-1, 1, 1)],
        };
        for z in 0..nc as i64 {
            for y in 0..ny as i64 {
                let here = row_start[(z as usize) * ny + y as usize]..row_start[(z as usize) * ny + y as usize + 1];
                if here.is_empty() {
                    continue;
                }
                for (dz, dy, reach) in touching {
                    let (zz, yy) = (z + dz, y + dy);
                    if zz < 0 || yy < 0 || yy >= ny as i64 {
                        continue;
                    }
                    let i = (zz as usize) * ny + yy as usize;
                    join_rows(&runs, here.clone(), row_start[i]..row_start[i + 1], *reach, &mut parent);
                }
            }
        }
        let n = number(&mut runs, &mut parent);
        Components { runs, n }
    }

    /// True for components with a voxel in `seeds`.
    pub(super) fn holding(&self, seeds: &Mask) -> Vec<bool> {
        let mut found = vec![false; self.n];
        for r in &self.runs {
            found[r.label as usize] |= any_bit(seeds.row(r.z as usize, r.y as usize), r.first, r.last);
        }
        found
    }

    /// Voxels of each component.
    pub(super) fn volumes(&self) -> Vec<u64> {
        let mut volume = vec![0; self.n];
        for r in &self.runs {
            volume[r.label as usize] += u64::from(r.last - r.first + 1);
        }
        volume
    }

    /// Pixels that each component covers on the sky.
    pub(super) fn areas(&self) -> Vec<u64> {
        let mut order: Vec<&Run> = self.runs.iter().collect();
        order.sort_by_key(|r| (r.label, r.y, r.first));
        let mut area = vec![0; self.n];
        let mut last: Option<(u32, u32, u32)> = None;
        for r in order {
            let from = match last {
                Some((label, y, end)) if (label, y) == (r.label, r.y) => r.first.max(end + 1),
                _ => r.first,
            };
            if r.last >= from {
                area[r.label as usize] += u64::from(r.last - from + 1);
            }
            let end = match last {
                Some((label, y, end)) if (label, y) == (r.label, r.y) => end.max(r.last),
                _ => r.last,
            };
            last = Some((r.label, r.y, end));
        }
        area
    }

    /// Channels that each component spans.
    pub(super) fn channels(&self) -> Vec<u32> {
        let mut range = vec![(u32::MAX, 0); self.n];
        for r in &self.runs {
            let c = &mut range[r.label as usize];
            *c = (c.0.min(r.z), c.1.max(r.z));
        }
        range.into_iter().map(|(a, b)| if a > b { 0 } else { b - a + 1 }).collect()
    }

    /// The voxels of the components that are kept.
    pub(super) fn mask(&self, shape: [usize; 3], keep: &[bool]) -> Mask {
        let mut mask = Mask::empty(shape);
        for r in self.runs.iter().filter(|r| keep[r.label as usize]) {
            set_range(mask.row_mut(r.z as usize, r.y as usize), r.first, r.last);
        }
        mask
    }
}

fn push_runs(row: &[u64], z: u32, y: u32, runs: &mut Vec<Run>) {
    if row.iter().all(|w| *w == 0) {
        return;
    }
    let mut open: Option<(u32, u32)> = None;
    for x in set_bits(row).map(|x| x as u32) {
        open = match open {
            Some((first, last)) if last + 1 == x => Some((first, x)),
            Some((first, last)) => {
                runs.push(Run { z, y, first, last, label: 0 });
                Some((x, x))
            }
            None => Some((x, x)),
        };
    }
    if let Some((first, last)) = open {
        runs.push(Run { z, y, first, last, label: 0 });
    }
}

/// Joins the runs of two rows that come within `reach` of each other.
fn join_rows(runs: &[Run], a: std::ops::Range<usize>, b: std::ops::Range<usize>, reach: u32, parent: &mut [u32]) {
    let (mut i, mut j) = (a.start, b.start);
    while i < a.end && j < b.end {
        let (p, q) = (&runs[i], &runs[j]);
        if p.first <= q.last + reach && q.first <= p.last + reach {
            join(parent, i as u32, j as u32);
        }
        if p.last < q.last { i += 1 } else { j += 1 }
    }
}

fn root(parent: &mut [u32], mut i: u32) -> u32 {
    while parent[i as usize] != i {
        parent[i as usize] = parent[parent[i as usize] as usize];
        i = parent[i as usize];
    }
    i
}

/// The earlier run becomes the root, so that labels follow the order of the voxels.
fn join(parent: &mut [u32], a: u32, b: u32) {
    let (a, b) = (root(parent, a), root(parent, b));
    parent[a.max(b) as usize] = a.min(b);
}

fn number(runs: &mut [Run], parent: &mut [u32]) -> usize {
    let mut n = 0;
    for i in 0..runs.len() as u32 {
        let r = root(parent, i);
        runs[i as usize].label = if r == i {
            n += 1;
            n - 1
        } else {
            runs[r as usize].label
        };
    }
    n as usize
}

/// The bits `first ..= last` of a word of index `i`.
fn bits_of(i: usize, first: u32, last: u32) -> u64 {
    let (lo, hi) = (i as u32 * 64, i as u32 * 64 + 63);
    if last < lo || first > hi {
        return 0;
    }
    let (a, b) = (first.max(lo) - lo, last.min(hi) - lo);
    (u64::MAX << a) & (u64::MAX >> (63 - b))
}

fn any_bit(row: &[u64], first: u32, last: u32) -> bool {
    (first as usize / 64..=last as usize / 64).any(|i| row[i] & bits_of(i, first, last) != 0)
}

fn set_range(row: &mut [u64], first: u32, last: u32) {
    for i in first as usize / 64..=last as usize / 64 {
        row[i] |= bits_of(i, first, last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};

    /// Labels by flooding, voxel by voxel.
    fn flood(mask: &Mask, neighbours: Neighbours) -> (Vec<usize>, usize) {
        let [nc, ny, nx] = mask.shape();
        let at = |z: usize, y: usize, x: usize| (z * ny + y) * nx + x;
        let mut label = vec![usize::MAX; nc * ny * nx];
        let mut n = 0;
        for start in 0..label.len() {
            let (z, y, x) = (start / (ny * nx), start / nx % ny, start % nx);
            if !mask.get(z, y, x) || label[start] != usize::MAX {
                continue;
            }
            let mut stack = vec![(z, y, x)];
            label[start] = n;
            while let Some((z, y, x)) = stack.pop() {
                for d in 0..27i64 {
                    let (dz, dy, dx) = (d / 9 - 1, d / 3 % 3 - 1, d % 3 - 1);
                    let steps = dz.abs() + dy.abs() + dx.abs();
                    let far = match neighbours {
                        Neighbours::Faces => 1,
                        Neighbours::Edges => 2,
                        Neighbours::Corners => 3,
                    };
                    if steps == 0 || steps > far {
                        continue;
                    }
                    let (a, b, c) = (z as i64 + dz, y as i64 + dy, x as i64 + dx);
                    if a < 0 || b < 0 || c < 0 {
                        continue;
                    }
                    let (a, b, c) = (a as usize, b as usize, c as usize);
                    if mask.get(a, b, c) && label[at(a, b, c)] == usize::MAX {
                        label[at(a, b, c)] = n;
                        stack.push((a, b, c));
                    }
                }
            }
            n += 1;
        }
        (label, n)
    }

    /// Runs and flooding find the same components, in the same order, for all three kinds of neighbours.
    #[test]
    fn components_are_those_of_flooding() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(4);
        for (shape, density) in [([4, 7, 9], 0.4), ([6, 5, 130], 0.3), ([3, 3, 64], 0.6), ([1, 1, 1], 1.0), ([5, 20, 20], 0.15)] {
            let mask = Mask::from_fn(shape, |_, _, _| rng.random_bool(density));
            for neighbours in [Neighbours::Faces, Neighbours::Edges, Neighbours::Corners] {
                let (label, n) = flood(&mask, neighbours);
                let found = Components::find(&mask, neighbours);
                assert_eq!(found.n, n, "{shape:?} {neighbours:?}");
                let [_, ny, nx] = shape;
                for r in &found.runs {
                    for x in r.first..=r.last {
                        assert_eq!(label[(r.z as usize * ny + r.y as usize) * nx + x as usize], r.label as usize);
                    }
                }
                assert_eq!(found.volumes().iter().sum::<u64>(), mask.count());
                assert_eq!(found.mask(shape, &vec![true; n]), mask);
                for (i, area) in found.areas().iter().enumerate() {
                    let mut keep = vec![false; n];
                    keep[i] = true;
                    assert_eq!(*area, found.mask(shape, &keep).any_channel().count());
                }
            }
        }
    }
}
