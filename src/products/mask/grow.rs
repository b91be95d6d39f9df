//! Morphology of masks: runs along the spectral axis, growth in channels and on the sky.

use crate::data::{Mask, valid_bits};

/// Keeps runs of at least `n` channels in a row; outside the cube nothing is in the mask.
pub fn keep_runs(mask: &Mask, n: usize) -> Mask {
    if n <= 1 {
        return mask.clone();
    }
    let [nc, ..] = mask.shape();
    // Starts of full runs: the mask and the n - 1 channels after it.
    let mut starts = mask.clone();
    for z in 0..nc {
        for k in 1..n {
            if z + k >= nc {
                plane_mut(&mut starts, z).fill(0);
                break;
            }
            and_plane(&mut starts, z, mask.plane_words(z + k));
        }
    }
    let mut out = starts.clone();
    for z in 0..nc {
        for k in 1..n.min(nc - z) {
            or_plane(&mut out, z + k, starts.plane_words(z));
        }
    }
    out
}

/// Adds `before` channels before and `after` channels after every voxel.
pub fn grow_channels(mask: &Mask, before: usize, after: usize) -> Mask {
    let [nc, ..] = mask.shape();
    let mut out = mask.clone();
    for z in 0..nc {
        for k in (1..=after).take_while(|k| z + k < nc) {
            or_plane(&mut out, z + k, mask.plane_words(z));
        }
        for k in (1..=before).take_while(|k| *k <= z) {
            or_plane(&mut out, z - k, mask.plane_words(z));
        }
    }
    out
}

/// Adds the pixels within `radius` steps along x and y (a diamond) of every voxel.
pub fn grow_sky(mask: &Mask, radius: usize) -> Mask {
    let [nc, ny, nx] = mask.shape();
    let words = mask.row_words();
    let mut now = mask.clone();
    for _ in 0..radius {
        let old = now.clone();
        for z in 0..nc {
            for y in 0..ny {
                for i in 0..words {
                    let row = old.row(z, y);
                    let before = if i == 0 { 0 } else { row[i - 1] >> 63 };
                    let after = if i + 1 == words { 0 } else { row[i + 1] << 63 };
                    let mut w = row[i] | row[i] << 1 | before | row[i] >> 1 | after;
                    if y > 0 {
                        w |= old.row(z, y - 1)[i];
                    }
                    if y + 1 < ny {
                        w |= old.row(z, y + 1)[i];
                    }
                    now.row_mut(z, y)[i] = w & valid_bits(nx, i);
                }
            }
        }
    }
    now
}

fn plane_mut(mask: &mut Mask, z: usize) -> &mut [u64] {
    let n = mask.shape()[1] * mask.row_words();
    &mut mask.words_mut()[z * n..(z + 1) * n]
}

fn and_plane(mask: &mut Mask, z: usize, other: &[u64]) {
    plane_mut(mask, z).iter_mut().zip(other).for_each(|(a, b)| *a &= b);
}

fn or_plane(mask: &mut Mask, z: usize, other: &[u64]) {
    plane_mut(mask, z).iter_mut().zip(other).for_each(|(a, b)| *a |= b);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(bits: &str) -> Mask {
        let b: Vec<bool> = bits.chars().map(|c| c == '1').collect();
        Mask::from_fn([b.len(), 1, 1], |z, _, _| b[z])
    }

    fn text(mask: &Mask) -> String {
        (0..mask.shape()[0]).map(|z| if mask.get(z, 0, 0) { '1' } else { '0' }).collect()
    }

    #[test]
    fn short_runs_go_and_long_ones_stay() {
        assert_eq!(text(&keep_runs(&line("1011001110"), 2)), "0011001110");
        assert_eq!(text(&keep_runs(&line("1011001110"), 3)), "0000001110");
        assert_eq!(text(&keep_runs(&line("11"), 3)), "00");
        assert_eq!(text(&keep_runs(&line("01111011"), 4)), "01111000");
    }

    #[test]
    fn channels_grow_on_the_side_asked_for() {
        assert_eq!(text(&grow_channels(&line("0001000"), 1, 2)), "0011110");
        assert_eq!(text(&grow_channels(&line("1000001"), 1, 1)), "1100011");
    }

    #[test]
    fn a_pixel_grows_to_a_diamond() {
        let mut m = Mask::empty([1, 9, 130]);
        m.set(0, 4, 64, true);
        let g = grow_sky(&m, 3);
        let expected = Mask::from_fn([1, 9, 130], |_, y, x| y.abs_diff(4) + x.abs_diff(64) <= 3);
        assert_eq!(g, expected);
        m.set(0, 0, 129, true);
        assert!(grow_sky(&m, 1).get(0, 0, 128) && !grow_sky(&m, 1).get(0, 1, 0));
    }
}
