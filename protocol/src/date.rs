//! Dates as IMAP writes them (RFC 9051 §9, `date-time` and `date`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// INTERNALDATE: a moment with the zone in which it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InternalDate {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub unix_seconds: i64,
    /// The zone's offset from UTC in minutes, -5999 to 5999 (`+hhmm`).
    pub offset_minutes: i16,
}

/// A calendar day without zone, as in SEARCH SINCE: days since 1970-01-01, so that days compare as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Day(pub i32);

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const SECONDS_PER_DAY: i64 = 86_400;

impl InternalDate {
    /// Reads `17-Jul-1996 02:44:25 -0700` without its quotation marks; the day has two digits or a space and one. `None` for what is
    /// no date. A leap second reads as the second after it.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        let (day, rest) = text.split_first_chunk::<2>()?;
        let day = if day.first() == Some(&b' ') { decimal(day.get(1..)?)? } else { decimal(day)? };
        let (date, rest) = rest.split_first_chunk::<9>()?;
        let (time, zone) = rest.split_first_chunk::<9>()?;
        let day = after_day(day, date)?;
        let [b' ', h1, h2, b':', m1, m2, b':', s1, s2] = *time else { return None };
        let (hour, minute, second) = (decimal(&[h1, h2])?, decimal(&[m1, m2])?, decimal(&[s1, s2])?);
        let [b' ', sign @ (b'+' | b'-'), h1, h2, m1, m2] = *zone else { return None };
        let (zone_hours, zone_minutes) = (decimal(&[h1, h2])?, decimal(&[m1, m2])?);
        if hour > 23 || minute > 59 || second > 60 || zone_minutes > 59 {
            return None;
        }
        let offset = i16::try_from(zone_hours * 60 + zone_minutes).ok()?;
        let offset_minutes = if sign == b'-' { -offset } else { offset };
        let local = i64::from(day.0) * SECONDS_PER_DAY + i64::from(hour * 3600 + minute * 60 + second);
        Some(Self { unix_seconds: local - i64::from(offset_minutes) * 60, offset_minutes })
    }

    /// The day in the zone in which the date was given: SEARCH disregards time and zone (RFC 9051 §6.4.4).
    pub fn day(self) -> Day {
        Day(i32::try_from(self.local_seconds().div_euclid(SECONDS_PER_DAY)).unwrap_or(Day::LAST.0))
    }

    /// Seconds of the local time, as if it were UTC, within the years that have four digits.
    fn local_seconds(self) -> i64 {
        let (first, last) = (i64::from(Day::FIRST.0) * SECONDS_PER_DAY, (i64::from(Day::LAST.0) + 1) * SECONDS_PER_DAY - 1);
        self.unix_seconds.saturating_add(i64::from(self.offset_minutes) * 60).clamp(first, last)
    }
}

/// `17-Jul-1996 02:44:25 -0700`, without quotation marks; a day below 10 begins with a space (RFC 9051 §9, `date-day-fixed`).
/// What lies outside the years 0000 to 9999 is written as their first or last second.
impl fmt::Display for InternalDate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.day().civil();
        let time = self.local_seconds().rem_euclid(SECONDS_PER_DAY);
        let (sign, offset) = (if self.offset_minutes < 0 { '-' } else { '+' }, self.offset_minutes.unsigned_abs().min(5999));
        write!(formatter, "{day:2}-{}-{year:04} ", month_name(month))?;
        write!(formatter, "{:02}:{:02}:{:02} ", time / 3600, time / 60 % 60, time % 60)?;
        write!(formatter, "{sign}{:02}{:02}", offset / 60, offset % 60)
    }
}

impl Day {
    /// 1-Jan-0000, the first that can be written.
    pub const FIRST: Self = Self(-719_528);
    /// 31-Dec-9999, the last that can be written.
    pub const LAST: Self = Self(2_932_896);

    /// Reads `1-Feb-1994`, the day with one or two digits (RFC 9051 §9, `date-text`). `None` for what is no day of the calendar.
    pub fn parse(text: &str) -> Option<Self> {
        let hyphen = text.find('-').filter(|digits| matches!(digits, 1 | 2))?;
        let (day, rest) = text.as_bytes().split_at(hyphen);
        after_day(decimal(day)?, rest.try_into().ok()?)
    }

    /// The day of a date of the Gregorian calendar, month and day from 1; `None` if there is no such day or the year has not four digits.
    pub fn from_civil(year: u32, month: u32, day: u32) -> Option<Self> {
        if year > 9999 || !(1..=12).contains(&month) || day == 0 || day > days_of_month(year, month) {
            return None;
        }
        // Years begin in March here, so that the leap day is the last of its year.
        let (year, month) =
            if month > 2 { (i64::from(year), i64::from(month) - 3) } else { (i64::from(year) - 1, i64::from(month) + 9) };
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * month + 2) / 5 + i64::from(day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        i32::try_from(era * 146_097 + day_of_era - 719_468).ok().map(Self)
    }

    /// Year, month and day of the month in the Gregorian calendar.
    pub fn civil(self) -> (i32, u32, u32) {
        let days = i64::from(self.0) + 719_468;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let (year, month) = (era * 400 + year_of_era, if month < 10 { month + 3 } else { month - 9 });
        let year = if month <= 2 { year + 1 } else { year };
        (i32::try_from(year).unwrap_or(i32::MAX), u32::try_from(month).unwrap_or(1), u32::try_from(day).unwrap_or(1))
    }
}

/// `1-Feb-1994`.
impl fmt::Display for Day {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = Self(self.0.clamp(Self::FIRST.0, Self::LAST.0)).civil();
        write!(formatter, "{day}-{}-{year:04}", month_name(month))
    }
}

/// The day of which `-Feb-1994` follows.
fn after_day(day: u32, rest: &[u8; 9]) -> Option<Day> {
    let [b'-', month @ .., b'-', y1, y2, y3, y4] = rest else { return None };
    let month = MONTHS.iter().position(|name| name.as_bytes().eq_ignore_ascii_case(month))?;
    Day::from_civil(decimal(&[*y1, *y2, *y3, *y4])?, u32::try_from(month).ok()? + 1, day)
}

/// At most four digits, nothing else.
fn decimal(digits: &[u8]) -> Option<u32> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
}

fn days_of_month(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn month_name(month: u32) -> &'static str {
    MONTHS.get(month.saturating_sub(1) as usize).copied().unwrap_or("Jan")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_moments() {
        for (text, unix_seconds, offset_minutes) in [
            ("01-Jan-1970 00:00:00 +0000", 0, 0),
            ("17-Jul-1996 02:44:25 -0700", 837_596_665, -420),
            (" 1-Feb-2000 12:00:00 +0530", 949_386_600, 330),
            ("29-Feb-2000 23:59:59 +0000", 951_868_799, 0),
            ("31-Dec-1969 23:59:59 +0000", -1, 0),
            ("31-Dec-9999 23:59:59 +0000", 253_402_300_799, 0),
        ] {
            let date = InternalDate { unix_seconds, offset_minutes };
            assert_eq!(InternalDate::parse(text), Some(date), "{text}");
            assert_eq!(date.to_string(), text.replacen("01-", " 1-", 1));
        }
        assert_eq!(InternalDate::parse("31-dec-2016 23:59:60 +0000").map(|date| date.unix_seconds), Some(1_483_228_800));
    }

    #[test]
    fn what_is_no_date() {
        for text in [
            "",
            "7-Jul-1996 02:44:25 -0700",
            "31-Feb-1996 02:44:25 -0700",
            "29-Feb-1900 02:44:25 -0700",
            "17-Jul-1996 24:00:00 -0700",
            "17-Jul-1996 02:60:25 -0700",
            "17-Jul-1996 02:44:25 -0760",
            "17-Jul-1996 02:44:25 0700",
            "17-Jul-1996 02:44:25 -0700 ",
            "17-Jux-1996 02:44:25 -0700",
            "+7-Jul-1996 02:44:25 -0700",
            "17-J\u{fc}l-996 02:44:25 -0700",
        ] {
            assert_eq!(InternalDate::parse(text), None, "{text}");
        }
        for text in ["", "-Feb-1994", "0-Feb-1994", "32-Jan-1994", "001-Feb-1994", "1-Feb-94", "1-Feb-19944", "1 Feb 1994"] {
            assert_eq!(Day::parse(text), None, "{text}");
        }
    }

    #[test]
    fn days() {
        assert_eq!(Day::parse("1-Jan-1970"), Some(Day(0)));
        assert_eq!(Day::parse("01-feb-1994"), Some(Day(8797)));
        assert_eq!(Day(8797).to_string(), "1-Feb-1994");
        assert_eq!(Day::from_civil(0, 1, 1), Some(Day::FIRST));
        assert_eq!(Day::from_civil(9999, 12, 31), Some(Day::LAST));
        // SEARCH disregards the zone: the day is that of the date as it is written.
        assert_eq!(InternalDate::parse("01-Feb-1994 00:30:00 +0100").map(InternalDate::day), Day::parse("1-Feb-1994"));
    }

    #[test]
    fn outside_of_what_can_be_written() {
        assert_eq!(InternalDate { unix_seconds: i64::MAX, offset_minutes: 0 }.to_string(), "31-Dec-9999 23:59:59 +0000");
        assert_eq!(InternalDate { unix_seconds: i64::MIN, offset_minutes: -1 }.to_string(), " 1-Jan-0000 00:00:00 -0001");
    }

    proptest! {
        #[test]
        fn text_and_date_are_each_others_inverse(unix_seconds in -62_000_000_000i64..253_000_000_000, offset_minutes in -5999i16..=5999) {
            let date = InternalDate { unix_seconds, offset_minutes };
            prop_assert_eq!(InternalDate::parse(&date.to_string()), Some(date));
            prop_assert_eq!(Day::parse(&date.day().to_string()), Some(date.day()));
        }

        #[test]
        fn calendar_and_number_are_each_others_inverse(day in Day::FIRST.0..=Day::LAST.0) {
            let (year, month, day_of_month) = Day(day).civil();
            prop_assert_eq!(Day::from_civil(u32::try_from(year).unwrap(), month, day_of_month), Some(Day(day)));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = (InternalDate::parse(&text), Day::parse(&text));
        }
    }
}
