//! A library that has an ICICLE library's name in a test and none of its functions.
