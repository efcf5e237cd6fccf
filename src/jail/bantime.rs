//! How long a ban lasts: the jail's `bantime`, grown by the bans before it.

use super::rules::Increment;

/// No growing ban lasts longer, whatever its formula says: a hundred years of 365 days.
pub const GROWN_S_MAX: u64 = 100 * 365 * 86_400;

impl Increment {
    /// How long the ban of an id lasts that was banned `count` times before, in seconds; `first_s`
    /// is the jail's `bantime`, `chance` a random number from 0 to 1 for `bantime.rndtime`.
    ///
    /// As fail2ban does: the formula or the multipliers, never below `first_s`; then at most
    /// `bantime.maxtime`; then the random seconds. A first ban is not touched, and where a formula
    /// has no value, none grows.
    pub fn seconds(&self, first_s: u64, count: u32, chance: f64) -> u64 {
        if !self.enabled || count == 0 {
            return first_s;
        }
        let grown = self.grown(first_s, count).unwrap_or(first_s as f64);
        let grown = grown.clamp(first_s as f64, first_s.max(GROWN_S_MAX) as f64);
        let held = self.maxtime_s.map_or(grown, |most| grown.min(most as f64));
        let spread = self.rndtime_s.unwrap_or(0) as f64 * chance.clamp(0.0, 1.0);
        (held + spread) as u64
    }

    fn grown(&self, first_s: u64, count: u32) -> Option<f64> {
        let factor = self.factor.unwrap_or(1.0);
        let place = usize::try_from(count).unwrap_or(usize::MAX);
        let multiplier = self.multipliers.get(place).or(self.multipliers.last());
        match (multiplier, &self.formula) {
            (Some(multiplier), _) => Some(first_s as f64 * factor * *multiplier as f64),
            (None, Some(formula)) => formula.evaluate(first_s, count, factor),
            (None, None) => Some(first_s as f64 * 2_f64.powi(count.min(20) as i32) * factor),
        }
        .filter(|seconds| !seconds.is_nan())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jail::Formula;

    #[test]
    fn bans_grow_as_the_manual_says() {
        struct Row {
            name: &'static str,
            increment: Increment,
            first_s: u64,
            counts: &'static [u32],
            expected: &'static [u64],
        }
        let on = Increment { enabled: true, ..Increment::default() };
        let rows = [
            Row {
                name: "off",
                increment: Increment::default(),
                first_s: 600,
                counts: &[0, 1, 9],
                expected: &[600, 600, 600],
            },
            Row {
                name: "doubles, up to 20 times",
                increment: on.clone(),
                first_s: 600,
                counts: &[0, 1, 2, 3, 20, 21, u32::MAX],
                expected: &[600, 1200, 2400, 4800, 629_145_600, 629_145_600, 629_145_600],
            },
            Row {
                name: "factor",
                increment: Increment { factor: Some(1.5), ..on.clone() },
                first_s: 600,
                counts: &[1, 2],
                expected: &[1800, 3600],
            },
            Row {
                name: "multipliers, the last one repeats",
                increment: Increment { multipliers: vec![1, 5, 30], ..on.clone() },
                first_s: 60,
                counts: &[0, 1, 2, 3, 99],
                expected: &[60, 300, 1800, 1800, 1800],
            },
            Row {
                name: "never below the first",
                increment: Increment { multipliers: vec![1, 0], ..on.clone() },
                first_s: 60,
                counts: &[1],
                expected: &[60],
            },
            Row {
                name: "maxtime, then chance",
                increment: Increment { maxtime_s: Some(1000), rndtime_s: Some(100), ..on.clone() },
                first_s: 600,
                counts: &[0, 1, 2],
                expected: &[600, 1050, 1050],
            },
            Row {
                name: "a formula without a value does not grow",
                increment: Increment { formula: Formula::parse("1/0").ok(), ..on.clone() },
                first_s: 600,
                counts: &[1, 2],
                expected: &[600, 600],
            },
            Row {
                name: "a formula that outgrows everything ends at a century",
                increment: Increment {
                    formula: Formula::parse("ban.Time * math.exp(ban.Count)").ok(),
                    ..on.clone()
                },
                first_s: 600,
                counts: &[100, u32::MAX],
                expected: &[GROWN_S_MAX, GROWN_S_MAX],
            },
            Row {
                name: "no number is too great",
                increment: on,
                first_s: u64::MAX,
                counts: &[1, u32::MAX],
                expected: &[u64::MAX, u64::MAX],
            },
        ];
        for Row { name, increment, first_s, counts, expected } in rows {
            let got: Vec<u64> =
                counts.iter().map(|count| increment.seconds(first_s, *count, 0.5)).collect();
            assert_eq!(got, expected, "{name}");
        }
    }
}
