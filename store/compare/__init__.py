"""Compares stores: two stores directly, or a store with another lab's card."""
