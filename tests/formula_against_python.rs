//! `bantime.formula` beside Python: the stock examples of fail2ban's manual, and what people write.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::process::Command;

use sentryban::jail::Formula;
use serde_json::{Value, json};

mod common;

/// Evaluates each row as fail2ban does, but for the limits around it.
const ORACLE: &str = "
import sys, json, math
class Ban: pass
for line in sys.stdin:
    row = json.loads(line)
    ban = Ban()
    ban.Time, ban.Count = row['time'], row['count']
    try:
        value = float(eval(row['formula'], {'math': math}, {'ban': ban, 'banFactor': row['factor']}))
    except OverflowError:
        value = math.inf
    except Exception:
        value = None
    print(json.dumps('inf' if value == math.inf else value))
";

const FORMULAS: &[&str] = &[
    "ban.Time * (1<<(ban.Count if ban.Count<20 else 20)) * banFactor",
    "ban.Time * math.exp(float(ban.Count+1)*banFactor)/math.exp(1*banFactor)",
    "ban.Time * (1 << ban.Count)",
    "ban.Time * 2 ** ban.Count * banFactor",
    "ban.Time * (ban.Count + 1) ** 2",
    "ban.Time * max(1, ban.Count) * banFactor",
    "min(ban.Time * 10 ** ban.Count, 86400 * 30)",
    "ban.Time if ban.Count < 3 else 604800 if ban.Count < 6 else 31536000",
    "ban.Time * math.pow(banFactor + 1, ban.Count)",
    "int(ban.Time * math.sqrt(ban.Count)) + 60",
    "float(ban.Time) * math.log(ban.Count + 1) + math.log10(ban.Time)",
    "round(ban.Time * 1.5 ** ban.Count, ) // 60 * 60",
    "ban.Time * math.factor(ban.Count)",
    "ban.Time % 7 - -ban.Count // 2 * 3 + (ban.Count & 1 | 2 ^ 5)",
    "ban.Time / (ban.Count - 3)",
    "ban.Time << ban.Count >> 1",
    "(ban.Count >= 2 and ban.Time * 4 or ban.Time) * (not banFactor == 0)",
];

#[test]
fn formulas_give_the_numbers_of_python() {
    if !common::has_python() {
        return common::missing("python3");
    }
    let mut rows = Vec::new();
    for formula in FORMULAS {
        for (time, factor) in [(60, json!(1)), (600, json!(1.5)), (86_400, json!(2.0 / 2.885385))] {
            for count in [0, 1, 2, 3, 4, 7, 19, 20, 21, 40] {
                rows.push(json!({
                    "formula": formula, "time": time, "count": count, "factor": factor,
                }));
            }
        }
    }
    let input: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let mut python = Command::new("python3");
    python.args(["-c", ORACLE]);
    let answers = common::answer(python, &input);
    let mut compared = 0;
    for (row, answer) in rows.iter().zip(answers.lines()) {
        let text = row["formula"].as_str().unwrap();
        let Ok(formula) = Formula::parse(text) else {
            assert_eq!(answer, "null", "{row}: refused here, and Python has a value");
            continue;
        };
        let count = u32::try_from(row["count"].as_u64().unwrap()).unwrap();
        let factor = row["factor"].as_f64().unwrap();
        let got = formula.evaluate(row["time"].as_u64().unwrap(), count, factor);
        let expected = match serde_json::from_str(answer).unwrap() {
            Value::Null => None,
            Value::String(_) => Some(f64::INFINITY),
            number => number.as_f64(),
        };
        let near = match (got, expected) {
            (Some(got), Some(expected)) => {
                got == expected || (got - expected).abs() <= expected.abs() * 1e-12
            }
            (got, expected) => got == expected,
        };
        assert!(near, "{row}: {got:?} here, {answer} there");
        compared += 1;
    }
    assert!(compared > 400, "{compared}");
}
