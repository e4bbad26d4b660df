//! Money: amounts, currencies, prices with the instant from which they hold, and the one rounding.
//!
//! An amount is a whole number of micro-units of its currency (1,000,000 = 1), and is read and printed as a decimal without loss.
//! What something costs is price per hour × seconds / 3,600, and is rounded by [`half_up`] alone:
//!
//! | what | rounded |
//! |---|---|
//! | a window of a receipt | once, half up to the micro-unit, over all its parts together |
//! | a workspace's month, the org's month | once per size, half up to the micro-unit, over all its parts together |
//! | a receipt, a bill | not at all: sums of the above |
//! | an amount for people | half up to the currency's own digits (a bill), or two more (usage) |
//!
//! Prices have versions, each with the instant from which it holds. None holds from before it was made, so what is over never
//! changes. What spans a change is priced by the part in each version: parts are whole seconds, and add up to those of the
//! whole.

use super::{Month, SizeSeconds};
use crate::refusal::Refusal;
use crate::setting::Values;
use crate::size::Size;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How long after it was made a version of the prices holds at the earliest: by then every server has written the last
/// receipt that could not know of it.
pub const HOLDS_AFTER: SignedDuration = SignedDuration::from_mins(1);
/// Micro-units of one.
const UNIT: u64 = 1_000_000;
/// Largest amount that is read: a billion.
const AMOUNT_MAX: u64 = 1_000_000_000 * UNIT;
/// Currencies (ISO 4217) with two digits after the point.
const TWO_DIGITS: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF \
    CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES \
    KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN \
    PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS \
    UAH USD UYU UZS VED VES WST XCD YER ZAR ZMW ZWG";
/// With none, three and four.
const OTHER_DIGITS: [(usize, &str); 3] = [
    (0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"),
    (3, "BHD IQD JOD KWD LYD OMR TND"),
    (4, "CLF UYW"),
];

/// Digits after the point of a currency, by its ISO 4217 code; none when there is no such currency.
pub fn minor_digits(currency: &str) -> Option<usize> {
    let is_in = |codes: &str| codes.split_whitespace().any(|code| code == currency);
    let other = OTHER_DIGITS.iter().find(|(_, codes)| is_in(codes)).map(|(digits, _)| *digits);
    other.or_else(|| is_in(TWO_DIGITS).then_some(2))
}

/// A quotient, rounded half up; the only rounding of money there is.
fn half_up(dividend: u128, divisor: u128) -> u64 {
    u64::try_from(dividend.saturating_add(divisor / 2) / divisor).unwrap_or(u64::MAX)
}

/// Reads a decimal such as `0.0125` as micro-units; none when it is no amount: a sign, an exponent, more than six places,
/// more than a billion.
pub fn parse_amount(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let are_digits =
        |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(whole, 10) || !are_digits(part, 6) {
        return None;
    }
    let micros = whole.parse::<u64>().ok()? * UNIT + format!("{part:0<6}").parse::<u64>().ok()?;
    (micros <= AMOUNT_MAX).then_some(micros)
}

/// Micro-units as an exact decimal: `0.0125`, `3`.
pub fn amount(micros: u64) -> String {
    let (whole, part) = (micros / UNIT, micros % UNIT);
    if part == 0 { whole.to_string() } else { format!("{whole}.{part:06}").trim_end_matches('0').to_owned() }
}

/// What was used, for people: `0.0123 USD`, with two digits more than the currency has.
pub fn format_money(micros: u64, currency: &str) -> String {
    rounded(micros, minor_digits(currency).unwrap_or(2) + 2, currency)
}

/// What is to be paid, for people: `12.35 USD`, in the currency's own digits.
pub fn format_bill(micros: u64, currency: &str) -> String {
    rounded(micros, minor_digits(currency).unwrap_or(2), currency)
}

fn rounded(micros: u64, digits: usize, currency: &str) -> String {
    let digits = digits.min(6);
    let scale = 10_u64.pow(digits as u32);
    let count = half_up(u128::from(micros), u128::from(UNIT / scale));
    if digits == 0 {
        format!("{count} {currency}")
    } else {
        format!("{}.{:0digits$} {currency}", count / scale, count % scale)
    }
}

/// Prices, in micro-units of the currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Prices {
    /// ISO 4217 code.
    pub currency: String,
    /// Small, per hour.
    pub small: u64,
    /// Medium, per hour.
    pub medium: u64,
    /// Large, per hour.
    pub large: u64,
    /// What an organization has free in each month.
    #[serde(default)]
    pub included_credit: u64,
    /// What an organization pays for a month at least.
    #[serde(default)]
    pub month_minimum: u64,
}

impl Default for Prices {
    /// A self-hosted box costs nothing until prices are configured.
    fn default() -> Self {
        Self { currency: "USD".to_owned(), small: 0, medium: 0, large: 0, included_credit: 0, month_minimum: 0 }
    }
}

impl Prices {
    /// Of the setting `prices`, with the instant it names.
    pub fn from_setting(values: &Values) -> Result<(Self, Option<Timestamp>), Refusal> {
        let refused = |field: &str, wanted: &str| {
            Refusal::invalid("setting.value", format!("the field `{field}` takes {wanted}")).hint("nothing was changed")
        };
        let currency = values.text("currency").unwrap_or_default();
        if minor_digits(currency).is_none() {
            return Err(refused("currency", "an ISO 4217 code such as EUR"));
        }
        let amount = |field: &str| {
            let text = values.text(field).unwrap_or("0");
            parse_amount(text).ok_or_else(|| refused(field, "a decimal such as 0.0125"))
        };
        let from = values.text("from").map(str::parse).transpose();
        let prices = Self {
            currency: currency.to_owned(),
            small: amount("small")?,
            medium: amount("medium")?,
            large: amount("large")?,
            included_credit: amount("included_credit")?,
            month_minimum: amount("month_minimum")?,
        };
        Ok((prices, from.map_err(|_| refused("from", "an instant such as 2026-12-01T00:00:00Z"))?))
    }

    /// Per hour, at a size.
    pub fn per_hour(&self, size: Size) -> u64 {
        match size {
            Size::Small => self.small,
            Size::Medium => self.medium,
            Size::Large => self.large,
        }
    }

    /// Whether something costs anything.
    fn is_free(&self) -> bool {
        self.small == 0 && self.medium == 0 && self.large == 0 && self.month_minimum == 0
    }
}

/// Prices, and from when they hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PriceVersion {
    /// The setting's version; 0 are those of the server's configuration.
    pub version: u64,
    /// From when they hold; the first ones always did.
    #[schema(value_type = Option<String>)]
    pub holds_from: Option<Timestamp>,
    /// The prices.
    pub prices: Prices,
}

/// Seconds at the price of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PricedPart {
    /// The version of the prices.
    pub price_version: u64,
    /// Whole seconds.
    pub seconds: u64,
    /// Price per hour in micro-units.
    pub per_hour_micros: u64,
}

/// What parts of one thing cost together, rounded once.
pub fn cost(parts: &[PricedPart]) -> u64 {
    let exact = |part: &PricedPart| u128::from(part.per_hour_micros) * u128::from(part.seconds);
    half_up(parts.iter().map(exact).fold(0, u128::saturating_add), 3_600)
}

/// Seconds at each size, by the version of the prices in force.
pub type SpentSeconds = Vec<(u64, SizeSeconds)>;

/// What an organization pays for a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Bill {
    /// What was used, in micro-units.
    pub used_micros: u64,
    /// What of it is free.
    pub credit_micros: u64,
    /// What the month costs at least.
    pub minimum_micros: u64,
    /// What is to be paid: used less credit, at least the minimum.
    pub total_micros: u64,
}

/// All versions of the prices, in the order in which they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceList(Vec<PriceVersion>);

impl PriceList {
    /// Prices that always hold.
    pub fn only(prices: Prices) -> Self {
        Self::new(prices, [])
    }

    /// Those of the configuration, and those made since, in the order in which they were made. A newer one takes the place of older
    /// ones that would have held later.
    pub fn new(configured: Prices, made: impl IntoIterator<Item = PriceVersion>) -> Self {
        let mut versions = vec![PriceVersion { version: 0, holds_from: None, prices: configured }];
        for version in made {
            while versions.len() > 1 && versions.last().is_some_and(|last| last.holds_from >= version.holds_from) {
                versions.pop();
            }
            versions.push(version);
        }
        Self(versions)
    }

    /// The version in force at an instant.
    pub fn at(&self, instant: Timestamp) -> &PriceVersion {
        let later = self.0.partition_point(|version| version.holds_from.is_none_or(|from| from <= instant));
        &self.0[later.saturating_sub(1)]
    }

    /// A version by its number.
    pub fn version(&self, version: u64) -> Option<&PriceVersion> {
        self.0.iter().find(|one| one.version == version)
    }

    /// The versions in the order in which they hold.
    pub fn versions(&self) -> &[PriceVersion] {
        &self.0
    }

    /// When one version follows another, in order.
    pub fn changes(&self) -> Vec<Timestamp> {
        self.0.iter().filter_map(|version| version.holds_from).collect()
    }

    /// The version that holds in the whole month, if one does.
    pub fn of_whole(&self, month: Month) -> Option<&PriceVersion> {
        let is_within = |change: &Timestamp| *change > month.start() && *change < month.end();
        (!self.changes().iter().any(is_within)).then(|| self.at(month.start()))
    }

    /// A currency in which something costs and that is not this one. Sums are of one currency, so there must be none.
    pub fn other_currency(&self, currency: &str) -> Option<&str> {
        let others = self.0.iter().map(|version| &version.prices).filter(|prices| prices.currency != currency);
        others.filter(|prices| !prices.is_free()).map(|prices| prices.currency.as_str()).next()
    }

    /// The parts of a time at a size, by version. They add up to its whole seconds.
    pub fn parts(&self, size: Size, from: Timestamp, to: Timestamp) -> Vec<PricedPart> {
        let whole = |to: Timestamp| u64::try_from(to.duration_since(from).as_secs()).unwrap_or(0);
        let (mut parts, mut before) = (Vec::new(), 0);
        for (number, version) in self.0.iter().enumerate() {
            let end = self.0.get(number + 1).and_then(|next| next.holds_from).map_or(to, |next| next.min(to));
            let until = whole(end).max(before);
            if until > before {
                let per_hour_micros = version.prices.per_hour(size);
                parts.push(PricedPart { price_version: version.version, seconds: until - before, per_hour_micros });
                before = until;
            }
        }
        parts
    }

    /// What a time at a size costs, in micro-units.
    pub fn cost(&self, size: Size, from: Timestamp, to: Timestamp) -> u64 {
        cost(&self.parts(size, from, to))
    }

    /// What seconds cost, in micro-units, rounded once at each size.
    pub fn cost_of(&self, spent: &[(u64, SizeSeconds)]) -> u64 {
        let of = |size: Size| {
            let parts = spent.iter().filter_map(|(version, seconds)| {
                let per_hour_micros = self.version(*version)?.prices.per_hour(size);
                Some(PricedPart { price_version: *version, seconds: seconds.of(size), per_hour_micros })
            });
            cost(&parts.collect::<Vec<_>>())
        };
        Size::ALL.into_iter().map(of).fold(0, u64::saturating_add)
    }

    /// What is to be paid for a month of which this much was used. Credit and minimum are those in force as it begins.
    pub fn bill(&self, month: Month, used_micros: u64) -> Bill {
        let prices = &self.at(month.start()).prices;
        let (credit_micros, minimum_micros) = (prices.included_credit.min(used_micros), prices.month_minimum);
        Bill {
            used_micros,
            credit_micros,
            minimum_micros,
            total_micros: (used_micros - credit_micros).max(minimum_micros),
        }
    }
}

#[cfg(test)]
#[path = "price_tests.rs"]
mod tests;
