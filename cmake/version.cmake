# Writes OUTPUT (version.h) from SOURCE/common/version.h.in, VERSION and the revision: that of BROADWAY_REVISION in the
# environment (images are built without the repository), else that of the checkout.
set(PROJECT_VERSION ${VERSION})
set(BROADWAY_REVISION "$ENV{BROADWAY_REVISION}")
if(NOT BROADWAY_REVISION AND EXISTS ${SOURCE}/.git)
    execute_process(COMMAND git --no-optional-locks describe --always --dirty --abbrev=12 --exclude=*
                    WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE BROADWAY_REVISION
                    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT BROADWAY_REVISION)
    set(BROADWAY_REVISION "unknown")
endif()
configure_file(${SOURCE}/common/version.h.in ${OUTPUT} @ONLY)
