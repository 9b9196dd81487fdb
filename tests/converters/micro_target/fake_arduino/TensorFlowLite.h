// The header by which Arduino's IDE finds TFLite Micro.
#pragma once
