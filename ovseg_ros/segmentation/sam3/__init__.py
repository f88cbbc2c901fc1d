"""SAM 3: concepts in words, their scores and masks out."""
