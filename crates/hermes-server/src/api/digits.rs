//! Numbers as digits, for what is written into every answer.
//!
//! `format!` would do, but takes hundreds of instructions and an allocation for each number; these
//! take tens and none.

use hyper::header::HeaderValue;

/// Digits of the largest number.
const DECIMAL_MAX: usize = 20;

/// A number in decimal.
#[derive(Debug)]
pub(super) struct Decimal {
    digits: [u8; DECIMAL_MAX],
    begin: usize,
}

impl Decimal {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.digits[self.begin..]
    }
}

impl From<u64> for Decimal {
    fn from(mut number: u64) -> Self {
        let (mut digits, mut begin) = ([b'0'; DECIMAL_MAX], DECIMAL_MAX - 1);
        while number > 9 {
            digits[begin] = last_digit(number, 10);
            number /= 10;
            begin -= 1;
        }
        digits[begin] = last_digit(number, 10);
        Self { digits, begin }
    }
}

impl From<Decimal> for HeaderValue {
    fn from(decimal: Decimal) -> Self {
        Self::from_bytes(decimal.as_bytes()).expect("digits are ASCII")
    }
}

/// A number in 16 hexadecimal digits.
pub(super) fn hexadecimal(mut number: u64) -> [u8; 16] {
    let mut digits = [b'0'; 16];
    for digit in digits.iter_mut().rev() {
        *digit = last_digit(number, 16);
        number /= 16;
    }
    digits
}

fn last_digit(number: u64, base: u64) -> u8 {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    DIGITS[usize::try_from(number % base).unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_formatter() {
        for number in [0, 1, 9, 10, 99, 100, 4_096, 1_234_567_890, u64::MAX] {
            let decimal = Decimal::from(number);
            assert_eq!(decimal.as_bytes(), number.to_string().as_bytes());
            assert_eq!(hexadecimal(number), format!("{number:016x}").as_bytes());
        }
    }
}
