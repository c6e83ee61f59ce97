"""What a store's features tell: emotions or speakers, durations, noise, copies."""
