//! Durations as the configuration writes them: `100ms`, `5s`, `3m`, `1h`.

use std::time::Duration;

/// The longest duration accepted: one year. Timers stay far from overflowing.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Units, the longest first, with their length in milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Why a text is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a whole number with a unit behind it.
    #[error("expected a number with a unit, such as \"5s\", \"3m\", \"100ms\" or \"1h\"")]
    Form,
    /// Zero.
    #[error("expected a duration above zero")]
    Zero,
    /// More than a year.
    #[error("expected a duration of at most 8760h")]
    TooLong,
}

/// Reads a duration such as `5s`.
///
/// # Errors
/// When `text` is not a whole number followed by `ms`, `s`, `m` or `h`, is zero, or is longer than a year.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or(DurationError::Form)?;
    let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(DurationError::Form)?;
    if number.is_empty() {
        return Err(DurationError::Form);
    }
    let number: u64 = number.parse().map_err(|_| DurationError::TooLong)?;
    let duration = number.checked_mul(*millis).map(Duration::from_millis).ok_or(DurationError::TooLong)?;
    match duration {
        Duration::ZERO => Err(DurationError::Zero),
        long if long > LONGEST => Err(DurationError::TooLong),
        fine => Ok(fine),
    }
}

/// Writes a duration in the longest unit that needs no fraction; below a millisecond is cut off.
#[must_use]
pub fn render_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let exact = UNITS.iter().find(|(_, unit)| millis.is_multiple_of(u128::from(*unit)));
    exact
        .map_or_else(|| format!("{millis}ms"), |(name, unit)| format!("{}{name}", millis / u128::from(*unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_back_the_same_way() {
        for text in ["1ms", "100ms", "5s", "90s", "3m", "1h", "8760h"] {
            assert_eq!(render_duration(parse_duration(text).unwrap()), text);
        }
        assert_eq!(render_duration(parse_duration("180s").unwrap()), "3m");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "5", "s", "5 s", "-5s", "1.5s", "5d", "5S", "fünf"] {
            assert_eq!(parse_duration(text), Err(DurationError::Form), "{text}");
        }
        assert_eq!(parse_duration("0s"), Err(DurationError::Zero));
        assert_eq!(parse_duration("8761h"), Err(DurationError::TooLong));
        assert_eq!(parse_duration("99999999999999999999h"), Err(DurationError::TooLong));
        assert_eq!(parse_duration("9999999999999999999h"), Err(DurationError::TooLong));
    }
}
