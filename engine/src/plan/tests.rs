#![allow(clippy::needless_pass_by_value, reason = "a test writes its inputs in place")]
