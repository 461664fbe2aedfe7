//! Types of operands and what a register can hold.

/// A type as it stands in an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    Pred,
    B8,
    U8,
    S8,
    B16,
    U16,
    S16,
    F16,
    BF16,
    B32,
    U32,
    S32,
    F32,
    F16x2,
    BF16x2,
    B64,
    U64,
    S64,
    F64,
}

/// Where a register lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    Pred,
    /// In the 32-bit file, zero-extended.
    R16,
    R32,
    R64,
}

impl Class {
    /// Bytes of a register; predicates have none.
    pub fn bytes(self) -> usize {
        match self {
            Self::Pred => 0,
            Self::R16 => 2,
            Self::R32 => 4,
            Self::R64 => 8,
        }
    }
}

impl Type {
    /// The type of this name.
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "pred" => Self::Pred,
            "b8" => Self::B8,
            "u8" => Self::U8,
            "s8" => Self::S8,
            "b16" => Self::B16,
            "u16" => Self::U16,
            "s16" => Self::S16,
            "f16" => Self::F16,
            "bf16" => Self::BF16,
            "b32" => Self::B32,
            "u32" => Self::U32,
            "s32" => Self::S32,
            "f32" => Self::F32,
            "f16x2" => Self::F16x2,
            "bf16x2" => Self::BF16x2,
            "b64" => Self::B64,
            "u64" => Self::U64,
            "s64" => Self::S64,
            "f64" => Self::F64,
            _ => return None,
        })
    }

    /// Bytes in memory; predicates have none.
    pub fn bytes(self) -> usize {
        match self {
            Self::Pred => 0,
            Self::B8 | Self::U8 | Self::S8 => 1,
            Self::B16 | Self::U16 | Self::S16 | Self::F16 | Self::BF16 => 2,
            Self::B32 | Self::U32 | Self::S32 | Self::F32 | Self::F16x2 | Self::BF16x2 => 4,
            Self::B64 | Self::U64 | Self::S64 | Self::F64 => 8,
        }
    }

    /// The narrowest register that holds this type.
    pub fn class(self) -> Class {
        match self.bytes() {
            0 => Class::Pred,
            1 | 2 => Class::R16,
            4 => Class::R32,
            _ => Class::R64,
        }
    }

    pub fn is_signed(self) -> bool {
        matches!(self, Self::S8 | Self::S16 | Self::S32 | Self::S64)
    }

    pub fn is_float(self) -> bool {
        matches!(
            self,
            Self::F16 | Self::BF16 | Self::F32 | Self::F16x2 | Self::BF16x2 | Self::F64
        )
    }

    /// One or two 16-bit floating-point numbers: types of arithmetic alone, kept as bits.
    pub fn is_half(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F16x2 | Self::BF16x2)
    }

    /// Bits without a number type.
    pub fn is_bits(self) -> bool {
        matches!(self, Self::B8 | Self::B16 | Self::B32 | Self::B64)
    }
}
