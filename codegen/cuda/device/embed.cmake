# cmake -DOUTPUT=FILE.c -DINPUTS=A;B -P embed.cmake: the inputs, one behind the other, as a C array.
set(hex)
foreach(input ${INPUTS})
  file(READ ${input} bytes HEX)
  string(APPEND hex ${bytes})
endforeach()
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
string(LENGTH "${hex}" digits)
math(EXPR size "${digits} / 2")
file(WRITE ${OUTPUT} "#include \"codegen/cuda/device/device_text.h\"
const size_t tsr_cuda_device_text_size = ${size};
const char tsr_cuda_device_text[] = {
${bytes}0};
")
