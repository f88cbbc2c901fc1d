"""RADSeg: dense open-vocabulary features from one RADIO backbone."""
