package doctor

// InSettings says a hint in keys of mailman.cfg and flags of the program.
var InSettings = inSettings
