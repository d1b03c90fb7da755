"""Measures this product beside what people would write or install instead (docs/performance.md)."""
