//! Dates as people and headers write them, from seconds since 1970. Proleptic Gregorian, UTC.

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// The year.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

/// English names of months, as RFC 5322 and mbox write them.
pub const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const DAY_SECONDS: i64 = 86_400;

impl Date {
    /// The day of a moment.
    pub fn of(unix_seconds: i64) -> Self {
        // Days from 0000-03-01, so that the leap day is the last of its year; 400 years have 146,097 days.
        let days = unix_seconds.div_euclid(DAY_SECONDS) + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self { year, month: u8::try_from(month).unwrap_or(1), day: u8::try_from(day).unwrap_or(1) }
    }

    /// Days since 1970-01-01.
    pub fn days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let shifted = (i64::from(self.month) + 9) % 12;
        let of_year = (153 * shifted + 2) / 5 + i64::from(self.day) - 1;
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
    }

    /// The month's English name.
    pub fn month_name(self) -> &'static str {
        MONTHS.get(usize::from(self.month).saturating_sub(1)).copied().unwrap_or("Jan")
    }
}

/// Hours, minutes and seconds of a moment.
fn clock(unix_seconds: i64) -> (i64, i64, i64) {
    let seconds = unix_seconds.rem_euclid(DAY_SECONDS);
    (seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `2026-01-12T10:00:00.123456Z` (RFC 3339).
pub fn rfc3339(microseconds: u64) -> String {
    let seconds = i64::try_from(microseconds / 1_000_000).unwrap_or(i64::MAX / 2);
    let Date { year, month, day } = Date::of(seconds);
    let (hour, minute, second) = clock(seconds);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:06}Z", microseconds % 1_000_000)
}

/// `Mon, 12 Jan 2026 10:00:00 +0000` (RFC 5322 §3.3).
pub fn rfc5322(unix_seconds: i64) -> String {
    let date = Date::of(unix_seconds);
    let weekday = WEEKDAYS.get(usize::try_from(unix_seconds.div_euclid(DAY_SECONDS).rem_euclid(7)).unwrap_or(0)).copied();
    let (hour, minute, second) = clock(unix_seconds);
    let (weekday, month) = (weekday.unwrap_or("Thu"), date.month_name());
    format!("{weekday}, {} {month} {:04} {hour:02}:{minute:02}:{second:02} +0000", date.day, date.year)
}

/// Seconds since 1970 of a date and a time of day in a zone `offset_minutes` east of UTC; `None` where a number is out of range.
pub fn unix_seconds(date: Date, (hour, minute, second): (u8, u8, u8), offset_minutes: i16) -> Option<i64> {
    let is_valid = (1..=12).contains(&date.month) && hour < 24 && minute < 60 && second <= 60;
    if !is_valid || Date::of(date.days() * DAY_SECONDS) != date {
        return None;
    }
    let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    Some(date.days() * DAY_SECONDS + seconds - i64::from(offset_minutes) * 60)
}

/// A date-time of RFC 5322 (`Mon, 12 Jan 2026 10:00:00 +0100 (comment)`), or of a From_ line (`Mon Jan 12 10:00:00 2026`), as unix seconds and
/// zone in minutes. Lenient: any order of the words, a zone that is missing or a name counts as UTC.
pub fn parse_loose(text: &str) -> Option<(i64, i16)> {
    let (mut day, mut month, mut year, mut time, mut zone) = (None, None, None, None, None);
    for word in text.split([' ', '\t', ',', '\r', '\n']).filter(|word| !word.is_empty()).take(12) {
        if let Some(index) = MONTHS.iter().position(|name| word.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(name))) {
            month = month.or(u8::try_from(index + 1).ok());
        } else if word.contains(':') {
            time = time.or(parse_time(word));
        } else if let (Some(sign @ ('+' | '-')), true) = (word.chars().next(), word.len() == 5) {
            let number: i16 = word.get(1..)?.parse().ok()?;
            let minutes = number / 100 * 60 + number % 100;
            zone = zone.or(Some(if sign == '-' { -minutes } else { minutes }));
        } else if let Ok(number) = word.parse::<u16>() {
            if day.is_none() && (1..=31).contains(&number) {
                day = u8::try_from(number).ok();
            } else if year.is_none() {
                year = Some(match number {
                    0..=49 => i64::from(number) + 2000,
                    50..=99 => i64::from(number) + 1900,
                    _ => i64::from(number),
                });
            }
        }
    }
    let zone = zone.unwrap_or(0);
    Some((unix_seconds(Date { year: year?, month: month?, day: day? }, time?, zone)?, zone))
}

/// A moment as people name it, in microseconds since 1970: `90s`, `10min ago`, `2h`, `3 days ago`; or a day or date-time of RFC 3339, in UTC where
/// no zone is said, with a space or a T between day and time.
pub fn parse_moment(text: &str, now_microseconds: u64) -> Option<u64> {
    let text = text.trim();
    let span = text.strip_suffix("ago").unwrap_or(text).trim();
    let digits = span.find(|character: char| !character.is_ascii_digit()).unwrap_or(span.len());
    let (number, unit) = (span.get(..digits)?, span.get(digits..)?.trim());
    let seconds = match unit {
        "s" | "sec" | "second" | "seconds" => 1,
        "m" | "min" | "minute" | "minutes" => 60,
        "h" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 86_400,
        "w" | "week" | "weeks" => 7 * 86_400,
        _ => return parse_rfc3339(text),
    };
    let back = number.parse::<u64>().ok()?.checked_mul(seconds)?.checked_mul(1_000_000)?;
    Some(now_microseconds.saturating_sub(back))
}

fn parse_rfc3339(text: &str) -> Option<u64> {
    let (day, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00:00Z"));
    let mut parts = day.splitn(3, '-').map(|part| part.parse::<u16>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let date = Date { year: year.into(), month: u8::try_from(month).ok()?, day: u8::try_from(day).ok()? };
    let zone_at = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (time, zone) = (time.get(..zone_at)?, time.get(zone_at..)?);
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let offset_minutes = match zone.get(..1) {
        None | Some("Z") if zone.len() <= 1 => 0,
        Some(sign @ ("+" | "-")) => {
            let (hours, minutes, _) = parse_time(zone.get(1..)?)?;
            let minutes = i16::from(hours) * 60 + i16::from(minutes);
            if sign == "-" { -minutes } else { minutes }
        }
        _ => return None,
    };
    if fraction.len() > 6 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let microseconds: u64 = format!("{fraction:0<6}").parse().ok()?;
    let seconds = u64::try_from(unix_seconds(date, parse_time(time)?, offset_minutes)?).ok()?;
    seconds.checked_mul(1_000_000)?.checked_add(microseconds)
}

fn parse_time(word: &str) -> Option<(u8, u8, u8)> {
    let mut parts = word.splitn(3, ':').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments() {
        assert_eq!(rfc3339(1_768_212_000_123_456), "2026-01-12T10:00:00.123456Z");
        assert_eq!(rfc5322(1_768_212_000), "Mon, 12 Jan 2026 10:00:00 +0000");
        assert_eq!(rfc5322(0), "Thu, 1 Jan 1970 00:00:00 +0000");
        assert_eq!(rfc3339(951_782_400_000_000), "2000-02-29T00:00:00.000000Z");
        assert_eq!(Date::of(-1), Date { year: 1969, month: 12, day: 31 });
    }

    #[test]
    fn loose_dates() {
        assert_eq!(parse_loose("Mon, 12 Jan 2026 11:00:00 +0100 (CET)"), Some((1_768_212_000, 60)));
        assert_eq!(parse_loose("Mon Jan 12 10:00:00 2026"), Some((1_768_212_000, 0)));
        assert_eq!(parse_loose("12 January 26 10:00 GMT"), Some((1_768_212_000, 0)));
        assert_eq!(parse_loose("Mon, 12 Jan 2026 05:30:00 -0430"), Some((1_768_212_000, -270)));
        for bad in ["", "yesterday", "31 Feb 2026 10:00:00", "12 Jan 2026", "12 Jan 2026 25:00:00", "Jan 2026 1:1:1"] {
            assert_eq!(parse_loose(bad), None, "{bad}");
        }
    }

    #[test]
    fn moments() {
        const NOW: u64 = 1_768_212_000_123_456;
        let read = |text| parse_moment(text, NOW);
        for (text, seconds) in
            [("90s", 90), ("10min ago", 600), ("2h", 7200), ("3 days ago", 259_200), ("1w", 604_800), (" 5 m", 300)]
        {
            assert_eq!(read(text), Some(NOW - seconds * 1_000_000), "{text}");
        }
        for text in ["2026-01-12T10:00:00.123456Z", "2026-01-12 10:00:00.123456", "2026-01-12T11:30:00.123456+01:30", "0s"] {
            assert_eq!(read(text), Some(NOW), "{text}");
        }
        assert_eq!(read("2026-01-12 10:00"), Some(NOW - 123_456));
        assert_eq!(read("2026-01-12 10:00:00.12"), Some(NOW - 3_456));
        assert_eq!(read("2026-01-12"), Some(NOW - 123_456 - 36_000_000_000));
        for bad in
            ["", "ago", "10", "ten minutes", "-5m", "2026", "2026-13-01", "2026-02-30", "2026-01-12T25:00", "2026-01-12T10:00x"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read("99999999999999999999d"), None);
    }

    proptest! {
        #[test]
        fn what_the_log_shows_can_be_typed(microseconds in 0_u64..4_000_000_000_000_000) {
            prop_assert_eq!(parse_moment(&rfc3339(microseconds), 0), Some(microseconds));
        }

        #[test]
        fn no_moment_panics(text in ".{0,40}", number in "[0-9]{1,30}[a-z ]{0,8}", date in "[0-9TZ:.+ -]{0,30}") {
            let _ = (parse_moment(&text, 1), parse_moment(&number, 1), parse_moment(&date, 1));
        }

        #[test]
        fn every_day_returns(days in -200_000_i64..2_000_000) {
            prop_assert_eq!(Date::of(days * DAY_SECONDS).days(), days);
        }

        #[test]
        fn written_dates_are_read(seconds in 0_i64..4_000_000_000) {
            prop_assert_eq!(parse_loose(&rfc5322(seconds)), Some((seconds, 0)));
        }

        #[test]
        fn nothing_panics(text in ".{0,60}") {
            let _ = parse_loose(&text);
        }
    }
}
