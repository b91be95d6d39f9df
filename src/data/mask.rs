//! Masks of cubes and images, one bit a voxel.

use ndarray::{Array2, Array3, ArrayView2};

use super::DataError;

/// A set of voxels, packed 64 to a word along x; every row starts a new word and unused bits are 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    shape: [usize; 3],
    row_words: usize,
    bits: Vec<u64>,
}

impl Mask {
    /// The empty set on a grid of channels, rows, columns; an image has one channel.
    pub fn empty(shape: [usize; 3]) -> Mask {
        let row_words = shape[2].div_ceil(64);
        Mask { shape, row_words, bits: vec![0; shape[0] * shape[1] * row_words] }
    }
    /// All voxels.
    pub fn full(shape: [usize; 3]) -> Mask {
        Mask::from_fn(shape, |_, _, _| true)
    }
    /// The voxels where `f(chan, y, x)`.
    pub fn from_fn(shape: [usize; 3], mut f: impl FnMut(usize, usize, usize) -> bool) -> Mask {
        let mut mask = Mask::empty(shape);
        for z in 0..shape[0] {
            for y in 0..shape[1] {
                fill_row(mask.row_mut(z, y), shape[2], |x| f(z, y, x));
            }
        }
        mask
    }
    /// From an array, [chan, y, x].
    pub fn from_array(array: &Array3<bool>) -> Mask {
        let (c, y, x) = array.dim();
        Mask::from_fn([c, y, x], |k, j, i| array[[k, j, i]])
    }
    /// As an array, [chan, y, x].
    pub fn to_array(&self) -> Array3<bool> {
        Array3::from_shape_fn((self.shape[0], self.shape[1], self.shape[2]), |(k, j, i)| self.get(k, j, i))
    }
    /// One channel as an array, [y, x].
    pub fn plane(&self, channel: usize) -> Array2<bool> {
        Array2::from_shape_fn((self.shape[1], self.shape[2]), |(j, i)| self.get(channel, j, i))
    }
    /// Channels, rows, columns.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }
    /// Words in a row.
    pub fn row_words(&self) -> usize {
        self.row_words
    }
    /// Whether a voxel is in the mask; voxels outside the grid are not.
    #[inline]
    pub fn get(&self, channel: usize, y: usize, x: usize) -> bool {
        let [nc, ny, nx] = self.shape;
        channel < nc && y < ny && x < nx && self.bits[(channel * ny + y) * self.row_words + x / 64] >> (x % 64) & 1 == 1
    }
    /// Puts a voxel in or out.
    #[inline]
    pub fn set(&mut self, channel: usize, y: usize, x: usize, value: bool) {
        let word = &mut self.bits[(channel * self.shape[1] + y) * self.row_words + x / 64];
        *word = *word & !(1 << (x % 64)) | u64::from(value) << (x % 64);
    }
    /// Words of one row.
    #[inline]
    pub fn row(&self, channel: usize, y: usize) -> &[u64] {
        let start = (channel * self.shape[1] + y) * self.row_words;
        &self.bits[start..start + self.row_words]
    }
    /// Words of one row to change; bits past the last column must stay 0.
    #[inline]
    pub fn row_mut(&mut self, channel: usize, y: usize) -> &mut [u64] {
        let start = (channel * self.shape[1] + y) * self.row_words;
        &mut self.bits[start..start + self.row_words]
    }
    /// Words of one channel.
    pub fn plane_words(&self, channel: usize) -> &[u64] {
        let n = self.shape[1] * self.row_words;
        &self.bits[channel * n..(channel + 1) * n]
    }
    /// All words, channel by channel, row by row.
    pub fn words(&self) -> &[u64] {
        &self.bits
    }
    /// All words to change; bits past the last column of a row must stay 0.
    pub fn words_mut(&mut self) -> &mut [u64] {
        &mut self.bits
    }
    /// Voxels in the mask.
    pub fn count(&self) -> u64 {
        self.bits.iter().map(|w| u64::from(w.count_ones())).sum()
    }
    /// True where no voxel is in the mask.
    pub fn is_empty(&self) -> bool {
        self.bits.iter().all(|w| *w == 0)
    }
    /// Adds the voxels of another mask.
    pub fn or(&mut self, other: &Mask) -> Result<(), DataError> {
        self.zip(other, |a, b| a | b)
    }
    /// Keeps the voxels that are in another mask too.
    pub fn and(&mut self, other: &Mask) -> Result<(), DataError> {
        self.zip(other, |a, b| a & b)
    }
    /// Removes the voxels of another mask.
    pub fn minus(&mut self, other: &Mask) -> Result<(), DataError> {
        self.zip(other, |a, b| a & !b)
    }
    /// Puts in what was out and out what was in.
    pub fn invert(&mut self) {
        let (nx, words) = (self.shape[2], self.row_words);
        for (i, w) in self.bits.iter_mut().enumerate() {
            *w = !*w & valid_bits(nx, i % words);
        }
    }
    /// Pixels that are in the mask in any channel, as a mask of one channel.
    pub fn any_channel(&self) -> Mask {
        let mut out = Mask::empty([1, self.shape[1], self.shape[2]]);
        for z in 0..self.shape[0] {
            for (o, w) in out.bits.iter_mut().zip(self.plane_words(z)) {
                *o |= w;
            }
        }
        out
    }
    /// Columns of the voxels of one row.
    pub fn columns(&self, channel: usize, y: usize) -> impl Iterator<Item = usize> + '_ {
        set_bits(self.row(channel, y))
    }

    fn zip(&mut self, other: &Mask, f: impl Fn(u64, u64) -> u64) -> Result<(), DataError> {
        if self.shape != other.shape {
            return Err(DataError::Shape { what: "mask", found: other.shape.to_vec(), expected: self.shape.to_vec() });
        }
        for (a, b) in self.bits.iter_mut().zip(&other.bits) {
            *a = f(*a, *b);
        }
        Ok(())
    }
}

/// Indices of the bits of a row that are set, ascending.
#[inline]
pub fn set_bits(row: &[u64]) -> impl Iterator<Item = usize> + '_ {
    row.iter().enumerate().flat_map(|(i, w)| {
        let mut w = *w;
        std::iter::from_fn(move || {
            (w != 0).then(|| {
                let b = w.trailing_zeros() as usize;
                w &= w - 1;
                i * 64 + b
            })
        })
    })
}

/// Sets the bits of a row where `f(x)`.
#[inline]
pub fn fill_row(row: &mut [u64], nx: usize, f: impl FnMut(usize) -> bool) {
    let mut f = f;
    for (i, word) in row.iter_mut().enumerate() {
        let mut w = 0;
        for b in 0..64.min(nx - i * 64) {
            w |= u64::from(f(i * 64 + b)) << b;
        }
        *word = w;
    }
}

/// The bits of word `i_word` of a row that are columns of an image `nx` wide.
#[inline]
pub fn valid_bits(nx: usize, i_word: usize) -> u64 {
    let left = nx.saturating_sub(i_word * 64);
    if left >= 64 { u64::MAX } else { (1 << left) - 1 }
}

/// The finite pixels of a plane, row by row.
pub fn finite_plane(plane: ArrayView2<'_, f32>, words: &mut [u64]) {
    let nx = plane.ncols();
    for (row, out) in plane.rows().into_iter().zip(words.chunks_exact_mut(nx.div_ceil(64))) {
        fill_row(out, nx, |x| row[x].is_finite());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chequer(shape: [usize; 3]) -> Mask {
        Mask::from_fn(shape, |z, y, x| (z + y + x) % 3 == 0)
    }

    #[test]
    fn a_mask_is_the_array_it_came_from() {
        for nx in [1, 63, 64, 65, 130] {
            let m = chequer([3, 4, nx]);
            assert_eq!(Mask::from_array(&m.to_array()), m);
            let mut inverse = m.clone();
            inverse.invert();
            assert_eq!(m.count() + inverse.count(), 12 * nx as u64);
            inverse.or(&m).unwrap();
            assert_eq!(inverse, Mask::full([3, 4, nx]));
            assert_eq!(m.columns(1, 1).collect::<Vec<_>>(), (0..nx).filter(|x| (2 + x) % 3 == 0).collect::<Vec<_>>());
        }
    }

    #[test]
    fn masks_of_other_shapes_are_refused() {
        assert!(chequer([2, 2, 2]).or(&chequer([2, 2, 3])).is_err());
    }
}
