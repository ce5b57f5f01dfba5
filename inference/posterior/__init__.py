"""What a trained pair has to say: draws, evaluation, annotation, loadings."""
