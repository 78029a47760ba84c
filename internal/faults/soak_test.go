package faults

import "testing"

func soak(t *testing.T, r *rig, kills, seed int64) {}
func part(t *testing.T, r *rig)                    {}
