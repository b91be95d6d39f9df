//! Types of cells, as table descriptions name them.

use super::super::aipsio::CellType;

impl CellType {
    /// casacore's code of a scalar of this type.
    pub fn code(self) -> i32 {
        use CellType::*;
        match self {
            Bool => 0,
            Char => 1,
            UChar => 2,
            Short => 3,
            UShort => 4,
            Int => 5,
            UInt => 6,
            Float => 7,
            Double => 8,
            Complex => 9,
            DComplex => 10,
            String => 11,
            Table => 12,
            Record => 25,
            Int64 => 29,
        }
    }

    /// casacore's name of the type, filled up to eight characters as in the names of its classes.
    pub fn class_name(self) -> &'static str {
        use CellType::*;
        match self {
            Bool => "Bool    ",
            Char => "Char    ",
            UChar => "uChar   ",
            Short => "Short   ",
            UShort => "uShort  ",
            Int => "Int     ",
            UInt => "uInt    ",
            Int64 => "Int64   ",
            Float => "float   ",
            Double => "double  ",
            Complex => "Complex ",
            DComplex => "DComplex",
            String => "String  ",
            Table => "Table   ",
            Record => "Record  ",
        }
    }

    /// Bits of one number in a file; 0 for what has no fixed size.
    pub fn bits(self) -> usize {
        match self.tile_bytes() {
            Some(0) => 1,
            Some(bytes) => 8 * bytes,
            None => 0,
        }
    }

    /// Bytes of one number in memory, where a truth value takes one.
    pub fn memory_bytes(self) -> usize {
        self.bits().div_ceil(8)
    }
}
