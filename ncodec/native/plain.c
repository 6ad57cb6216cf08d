/* Any processor. */
#include "body.h"
