"""From KEDA's objects to ScalingRules. Facts about KEDA are from its own documentation, version 2.20."""
