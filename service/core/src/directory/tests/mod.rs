//! Tests of the directory's rules: `merge` holds records to the rule by generated writes, `actions`
//! has what each action changes.

mod actions;
mod merge;
