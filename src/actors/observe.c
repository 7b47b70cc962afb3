#include "actors/observe.h"

const actors_observer *actors_observed;
