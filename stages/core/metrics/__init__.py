"""Measures of label maps: one implementation for every room that reports one."""
