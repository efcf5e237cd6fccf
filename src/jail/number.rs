//! Python's numbers, as far as a formula needs them: whole ones and floats, and how they mix.

/// A number of Python's. Truth values are the whole numbers 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// An `int`.
    Whole(i128),
    /// A `float`.
    Real(f64),
}

/// Why there is no result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// It outgrows all numbers.
    Endless,
    /// Python raises an error, such as for a division by zero.
    Undefined,
}

impl From<bool> for Number {
    fn from(truth: bool) -> Number {
        Number::Whole(i128::from(truth))
    }
}

impl Number {
    pub(super) fn real(self) -> f64 {
        match self {
            Number::Whole(whole) => whole as f64,
            Number::Real(real) => real,
        }
    }

    pub(super) fn truth(self) -> bool {
        self.real() != 0.0
    }
}

type Result = std::result::Result<Number, Fault>;

/// What came out of floats: endless or undefined is a fault, as it is in Python.
fn finite(real: f64) -> Result {
    match real {
        _ if real.is_nan() => Err(Fault::Undefined),
        _ if real.is_infinite() => Err(Fault::Endless),
        _ => Ok(Number::Real(real)),
    }
}

/// A float without a fraction as a whole number, if one can hold it.
fn whole(real: f64) -> Result {
    match real.is_finite() && real.abs() < 1e38 {
        true => Ok(Number::Whole(real as i128)),
        false => finite(real),
    }
}

/// `+a`, `-a`, `~a`.
pub(super) fn sign(sign: &str, number: Number) -> Result {
    Ok(match (sign, number) {
        ("-", Number::Whole(whole)) => Number::Whole(whole.saturating_neg()),
        ("-", Number::Real(real)) => Number::Real(-real),
        ("~", Number::Whole(whole)) => Number::Whole(!whole),
        ("~", Number::Real(_)) => return Err(Fault::Undefined),
        _ => number,
    })
}

/// Two numbers and what stands between them.
pub(super) fn pair(operator: &str, left: Number, right: Number) -> Result {
    if let (Number::Whole(left), Number::Whole(right)) = (left, right)
        && let Some(result) = pair_of_whole(operator, left, right)
    {
        return result;
    }
    let (left, right) = (left.real(), right.real());
    match operator {
        "+" => finite(left + right),
        "-" => finite(left - right),
        "*" => finite(left * right),
        "**" => power(left, right),
        "/" | "//" | "%" if right == 0.0 => Err(Fault::Undefined),
        "/" => finite(left / right),
        "//" => finite((left / right).floor()),
        "%" => {
            let rest = left % right;
            let other_side = rest != 0.0 && (rest < 0.0) != (right < 0.0);
            finite(if other_side { rest + right } else { rest })
        }
        _ => Err(Fault::Undefined), // bits of a float
    }
}

/// Whole numbers among themselves; none where floats have to go on: a quotient, or too great.
fn pair_of_whole(operator: &str, left: i128, right: i128) -> Option<Result> {
    let result = match operator {
        "+" => left.checked_add(right)?,
        "-" => left.checked_sub(right)?,
        "*" => left.checked_mul(right)?,
        "//" | "%" if right == 0 => return Some(Err(Fault::Undefined)),
        "//" => {
            let quotient = left.checked_div(right)?;
            let towards_zero = left % right != 0 && (left < 0) != (right < 0);
            if towards_zero { quotient.checked_sub(1)? } else { quotient }
        }
        "%" => {
            let rest = left.checked_rem(right)?;
            if rest != 0 && (rest < 0) != (right < 0) { rest.checked_add(right)? } else { rest }
        }
        "**" => left.checked_pow(u32::try_from(right).ok()?)?,
        "<<" | ">>" if right < 0 => return Some(Err(Fault::Undefined)),
        "<<" => {
            let Some(factor) = u32::try_from(right).ok().and_then(|bits| 1_i128.checked_shl(bits))
            else {
                return Some(finite(left as f64 * 2_f64.powf(right as f64)));
            };
            match left.checked_mul(factor).filter(|_| factor > 0) {
                Some(shifted) => shifted,
                None => return Some(finite(left as f64 * 2_f64.powf(right as f64))),
            }
        }
        ">>" => match u32::try_from(right).ok().and_then(|bits| left.checked_shr(bits)) {
            Some(shifted) => shifted,
            None if left < 0 => -1,
            None => 0,
        },
        "&" => left & right,
        "|" => left | right,
        "^" => left ^ right,
        _ => return None,
    };
    Some(Ok(Number::Whole(result)))
}

fn power(base: f64, exponent: f64) -> Result {
    if base == 0.0 && exponent < 0.0 {
        return Err(Fault::Undefined);
    }
    finite(base.powf(exponent)) // of a negative base and a fraction: undefined
}

/// A comparison.
pub(super) fn holds(operator: &str, left: Number, right: Number) -> bool {
    let order = match (left, right) {
        (Number::Whole(left), Number::Whole(right)) => Some(left.cmp(&right)),
        (left, right) => left.real().partial_cmp(&right.real()),
    };
    order.is_some_and(|order| match operator {
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        "==" => order.is_eq(),
        _ => order.is_ne(),
    })
}

/// A function of Python's; the number of arguments is known to fit.
pub(super) fn call(name: &str, arguments: &[Number]) -> Result {
    let Some(&first) = arguments.first() else { return Err(Fault::Undefined) };
    let second = arguments.get(1).copied();
    let (real, other) = (first.real(), second.map(Number::real));
    let is_whole = matches!(first, Number::Whole(_));
    match name {
        "max" => Ok(best(arguments, ">")),
        "min" => Ok(best(arguments, "<")),
        "pow" => pair("**", first, second.unwrap_or(Number::Whole(1))),
        "abs" | "int" | "round" | "math.ceil" | "math.floor" | "math.trunc" if is_whole => {
            match (name, first) {
                ("abs", Number::Whole(whole)) => Ok(Number::Whole(whole.saturating_abs())),
                _ => Ok(first),
            }
        }
        "abs" => finite(real.abs()),
        "int" | "math.trunc" => whole(real.trunc()),
        "round" => whole(real.round_ties_even()),
        "math.ceil" => whole(real.ceil()),
        "math.floor" => whole(real.floor()),
        "bool" => Ok(Number::from(first.truth())),
        "float" => finite(real),
        "math.fabs" => finite(real.abs()),
        "math.sqrt" => finite(real.sqrt()),
        "math.cbrt" => finite(real.cbrt()),
        "math.exp" => finite(real.exp()),
        "math.exp2" => finite(real.exp2()),
        "math.expm1" => finite(real.exp_m1()),
        "math.log1p" if real <= -1.0 => Err(Fault::Undefined),
        "math.log1p" => finite(real.ln_1p()),
        "math.log" | "math.log2" | "math.log10" if real <= 0.0 => Err(Fault::Undefined),
        "math.log2" => finite(real.log2()),
        "math.log10" => finite(real.log10()),
        "math.log" => match other {
            None => finite(real.ln()),
            Some(base) if base <= 0.0 || base == 1.0 => Err(Fault::Undefined),
            Some(base) => finite(real.ln() / base.ln()),
        },
        "math.pow" => power(real, other.unwrap_or(1.0)),
        "math.fmod" => finite(real % other.unwrap_or(1.0)),
        "math.hypot" => finite(real.hypot(other.unwrap_or(0.0))),
        "math.cosh" => finite(real.cosh()),
        "math.sinh" => finite(real.sinh()),
        "math.tanh" => finite(real.tanh()),
        _ => Err(Fault::Undefined),
    }
}

/// The greatest or the least; of equal ones the first.
fn best(numbers: &[Number], operator: &str) -> Number {
    let mut best = Number::Whole(0);
    for (place, number) in numbers.iter().enumerate() {
        if place == 0 || holds(operator, *number, best) {
            best = *number;
        }
    }
    best
}
