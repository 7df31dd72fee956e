//! What a new password should have (`min_password_*`).
//!
//! One rule for all who set passwords; what follows from a shortfall is the caller's: an administrator on the command line is
//! warned, since they may know better, and a user is refused.
//!
//! Never: says anything about a password but what it lacks.

/// The least of each kind of character; zero asks for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PasswordRules {
    /// Characters in all (`min_password_length`).
    pub length: usize,
    /// Digits (`min_password_numbers`).
    pub digits: usize,
    /// Lower-case letters (`min_password_lowers`).
    pub lowers: usize,
    /// Upper-case letters (`min_password_uppers`).
    pub uppers: usize,
    /// Characters that are none of these (`min_password_specials`).
    pub specials: usize,
}

impl PasswordRules {
    /// What the password lacks, for a person: `2 digits (it has 1)`. Empty where it lacks nothing.
    #[must_use]
    pub fn shortfalls(&self, password: &str) -> Vec<String> {
        let count = |counts: fn(char) -> bool| password.chars().filter(|letter| counts(*letter)).count();
        let special = |c: char| !(c.is_numeric() || c.is_lowercase() || c.is_uppercase());
        [
            ("characters", self.length, password.chars().count()),
            ("digits", self.digits, count(char::is_numeric)),
            ("lower-case letters", self.lowers, count(char::is_lowercase)),
            ("upper-case letters", self.uppers, count(char::is_uppercase)),
            ("other characters", self.specials, count(special)),
        ]
        .into_iter()
        .filter(|(_, wanted, has)| has < wanted)
        .map(|(what, wanted, has)| format!("{wanted} {what} (it has {has})"))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_password_lacks_is_named_and_what_it_has_is_not() {
        let rules = PasswordRules { length: 8, digits: 2, lowers: 1, uppers: 1, specials: 1 };
        assert!(rules.shortfalls("Straße-12").is_empty());
        assert_eq!(
            rules.shortfalls("abc1"),
            [
                "8 characters (it has 4)",
                "2 digits (it has 1)",
                "1 upper-case letters (it has 0)",
                "1 other characters (it has 0)"
            ]
        );
        assert!(PasswordRules::default().shortfalls("").is_empty());
    }

    #[test]
    fn characters_are_counted_and_not_bytes() {
        let rules = PasswordRules { length: 4, ..PasswordRules::default() };
        assert_eq!(rules.shortfalls("äöü"), ["4 characters (it has 3)"]);
    }
}
