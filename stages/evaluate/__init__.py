"""Predictions -> metrics, tables and pictures."""
